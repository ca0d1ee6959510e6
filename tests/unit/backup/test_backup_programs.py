"""What makes a role's files ready to be copied: the programs that guests get, against real peers."""

from __future__ import annotations

import http.server
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_kit import Broker, a_broker, a_run
from role_kit import PROJECT, FakeRun, fleet, guest

TEMPLATES = PROJECT / "templates"
#: Debian's own Python has paho 1.6, ours 2: guests have either.
PYTHONS = [sys.executable, "/usr/bin/python3"]

# ------------------------------------------------------------------------ mosquitto


def saved(broker: Broker, process: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", TEMPLATES / "mosquitto" / "save.sh", "none", broker.root / "db" / "mosquitto.db", process],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_broker_saves_its_memory_and_another_one_has_it() -> None:
    with a_broker() as broker:
        with broker.login("app-localhost") as client:
            client.publish("app/kept", "kept", 1, retain=True)
        assert broker.process
        for _ in range(2):
            done = saved(broker, str(broker.process.pid))
            assert done.returncode == 0, done.stderr
        copy = (broker.root / "db" / "mosquitto.db").read_bytes()
        assert b"app/kept" in copy
        broker.process.kill()
        broker.process.wait()
        (broker.root / "db" / "mosquitto.db").write_bytes(copy)
        shutil.chown(broker.root / "db" / "mosquitto.db", "mosquitto")
        broker.start()
        with broker.login("app-localhost") as client:
            client.subscribe("app/kept")
            assert client.message().payload == b"kept"


def test_a_broker_that_does_not_run_has_its_files_at_rest() -> None:
    with a_broker() as broker:
        assert saved(broker, "0").returncode == 0
        gone = subprocess.Popen(["true"])
        gone.wait()
        assert saved(broker, str(gone.pid)).returncode != 0


# ----------------------------------------------------------------------- zigbee2mqtt


@pytest.fixture
def broker() -> Iterator[Broker]:
    run = a_run()
    run.roles["zigbee2mqtt"] = FakeRun(fleet()).roles["zigbee2mqtt"]
    run.fleet = fleet(guest("localhost", 135, "mosquitto", "zigbee2mqtt", address="127.0.0.1"))
    with a_broker(run) as found:
        yield found


def ask(broker: Broker, folder: Path, python: str, **more: Any) -> subprocess.CompletedProcess[str]:
    user = "zigbee2mqtt-localhost"
    authority = folder / "ca.crt"
    authority.write_text(broker.run.authority.ca_pem)
    settings = folder / "backup.json"
    given = {
        "host": "localhost",
        "port": broker.tls_port,
        "ca": str(authority),
        "user": user,
        "password": broker.password(user),
        "unit": "",
    }
    settings.write_text(json.dumps({**given, **more}))
    # The times are an hour's where a radio works; here nobody would wait for them.
    script = (TEMPLATES / "zigbee2mqtt" / "backup.py").read_text()
    program = folder / "backup.py"
    program.write_text(script.replace("CONNECTS, ANSWERS = 20, 180", "CONNECTS, ANSWERS = 5, 3"))
    return subprocess.run(
        [python, "-B", program, settings], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def zigbee(broker: Broker) -> Iterator[Callable[..., None]]:
    """Answers as Zigbee2MQTT does, with what is given; also to what somebody else asked."""
    stop = threading.Event()
    threads = []

    def start(**answer: Any) -> None:
        ready = threading.Event()

        def serve() -> None:
            with broker.login("zigbee2mqtt-localhost") as client:
                client.subscribe("zigbee2mqtt/bridge/request/backup")
                ready.set()
                while not stop.is_set():
                    try:
                        asked = client.message(0.2)
                    except AssertionError:
                        continue
                    topic = "zigbee2mqtt/bridge/response/backup"
                    client.publish(topic, json.dumps({"status": "error", "transaction": "other"}), 1)
                    client.publish(topic, "no JSON", 1)
                    transaction = json.loads(asked.payload)["transaction"]
                    client.publish(topic, json.dumps({**answer, "transaction": transaction}), 1)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        assert ready.wait(10)

    yield start
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("python", PYTHONS, ids=["paho 2", "Debian's"])
def test_zigbee2mqtt_is_asked_and_its_answer_is_heard(
    broker: Broker, zigbee: Callable[..., None], tmp_path: Path, python: str
) -> None:
    if subprocess.run([python, "-c", "import paho.mqtt.client"], check=False).returncode:
        pytest.skip("this Python has no paho")
    zigbee(data={"zip": "UEsDBA=="}, status="ok")
    done = ask(broker, tmp_path, python)
    assert (done.returncode, done.stderr) == (0, "")


def test_zigbee2mqtt_may_refuse(broker: Broker, zigbee: Callable[..., None], tmp_path: Path) -> None:
    zigbee(data={}, status="error", error="adapter does not answer")
    done = ask(broker, tmp_path, sys.executable)
    assert done.returncode != 0
    assert "adapter does not answer" in done.stderr


def test_nobody_answers(broker: Broker, tmp_path: Path) -> None:
    done = ask(broker, tmp_path, sys.executable)
    assert done.returncode != 0
    assert "no answer" in done.stderr


def test_the_broker_refuses_or_is_away(broker: Broker, tmp_path: Path) -> None:
    done = ask(broker, tmp_path, sys.executable, password="wrong")
    assert done.returncode != 0
    assert "the broker refuses" in done.stderr
    assert broker.password("zigbee2mqtt-localhost") not in done.stderr
    away = ask(broker, tmp_path, sys.executable, port=9)
    assert "cannot be reached" in away.stderr


# -------------------------------------------------------------------- home assistant


def home_assistant_backup(config: Path, compressed: bool = True) -> bytes:
    """A backup as Home Assistant 2026.11 writes it: an outer tar, and in it the configuration below data/."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz" if compressed else "w") as tar:
        tar.add(config, "data", filter=lambda member: None if "/backups" in member.name else member)
    name = "homeassistant.tar.gz" if compressed else "homeassistant.tar"
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w") as tar:
        for member, content in (("./backup.json", b"{}"), (name, inner.getvalue())):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return outer.getvalue()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "home-assistant"
    (folder / ".storage").mkdir(parents=True)
    (folder / ".storage" / "auth").write_text('{"users": []}')
    (folder / "configuration.yaml").write_text("homeassistant:\n")
    (folder / "backups").mkdir()
    (folder / "backups" / "older.tar").write_text("an automatic one")
    return folder


class Hass:
    """Home Assistant, as far as the dump asks for it."""

    def __init__(self, config: Path, status: int = 200, makes: int = 1, compressed: bool = True) -> None:
        self.asked: list[tuple[str, str | None]] = []
        hass = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hass.asked.append((self.path, self.headers["Authorization"]))
                self.rfile.read(int(self.headers["Content-Length"]))
                for number in range(makes if status == 200 else 0):
                    made = config / "backups" / f"Custom_backup_{time.time_ns()}_{number}.tar"
                    made.write_bytes(home_assistant_backup(config, compressed))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"[]")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def dump(hass: Hass, config: Path) -> subprocess.CompletedProcess[bytes]:
    token = config.parent / "token"
    token.write_text("a-token\n")
    program = TEMPLATES / "home_assistant" / "dump.py"
    port = str(hass.server.server_address[1])
    return subprocess.run(
        ["/usr/bin/python3", "-B", program, port, token, config],
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_home_assistants_own_backup_is_the_state_and_is_gone_afterwards(
    config: Path, compressed: bool
) -> None:
    hass = Hass(config, compressed=compressed)
    done = dump(hass, config)
    assert done.returncode == 0, done.stderr
    assert hass.asked == [("/api/services/backup/create", "Bearer a-token")]
    with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:") as tar:
        assert "data/.storage/auth" in tar.getnames()
    assert [path.name for path in (config / "backups").iterdir()] == ["older.tar"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"status": 401}, b"makes no backup: 401"),
        ({"makes": 0}, b"made 0 backups"),
        ({"makes": 2}, b"made 2"),
    ],
)
def test_home_assistant_that_makes_none(config: Path, options: dict[str, int], words: bytes) -> None:
    done = dump(Hass(config, **options), config)
    assert done.returncode != 0
    assert words in done.stderr
    there = {path.name for path in (config / "backups").iterdir()}
    assert "older.tar" in there
    assert len(there) == (3 if options.get("makes") == 2 else 1), "nobody's automatic backup is removed"


def restore(config: Path, content: bytes) -> subprocess.CompletedProcess[bytes]:
    """The script that the role renders, with this user in place of Home Assistant's, and without systemd."""
    run = FakeRun(fleet(guest("ha", 134, "home_assistant", "front")))
    from roles.home_assistant.place import keepers

    files = {file.path: file.text for file in keepers(run.here("ha", "home_assistant"), 18123)}
    text = next(text for path, text in files.items() if path.endswith("/restore"))
    folder = Path(tempfile.mkdtemp(dir=config.parent))
    script = folder / "restore"
    script.write_text(text.replace("user=homeassistant", "user=root"))
    (folder / "systemctl").write_text("#!/bin/sh\nexit 3\n")
    (folder / "systemctl").chmod(0o755)
    return subprocess.run(
        ["sh", script, "-", config],
        input=content,
        env={"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_home_assistant_comes_back_from_it_and_keeps_its_own_backups(config: Path) -> None:
    content = dump(Hass(config), config).stdout
    (config / ".storage" / "auth").write_text("newer")
    done = restore(config, content)
    assert done.returncode == 0, done.stderr
    assert (config / ".storage" / "auth").read_text() == '{"users": []}'
    assert (config / "backups" / "older.tar").exists()
    (aside,) = config.parent.glob("home-assistant.before-*")
    assert (aside / ".storage" / "auth").read_text() == "newer"
    shutil.rmtree(config)
    shutil.rmtree(aside)
    assert restore(config, content).returncode == 0
    assert (config / ".storage" / "auth").exists(), "also where nothing was"


@pytest.mark.parametrize("content", [b"", b"half of a tar", b"\0" * 10240])
def test_what_is_no_dump_changes_nothing(config: Path, content: bytes) -> None:
    done = restore(config, content)
    assert done.returncode != 0
    assert b"cannot restore Home Assistant" in done.stderr
    assert (config / ".storage" / "auth").read_text() == '{"users": []}'
    assert not list(config.parent.glob("home-assistant.*"))


def test_a_home_assistant_at_rest_is_dumped_in_the_same_shape(config: Path) -> None:
    run = FakeRun(fleet(guest("ha", 134, "home_assistant", "front")))
    from roles.home_assistant.place import keepers

    files = {file.path: file.text for file in keepers(run.here("ha", "home_assistant"), 18123)}
    text = next(text for path, text in files.items() if path.endswith("/dump"))
    folder = Path(tempfile.mkdtemp(dir=config.parent))
    (folder / "dump").write_text(text.replace("-C /var/lib/home-assistant", f"-C {config}"))
    (folder / "systemctl").write_text("#!/bin/sh\nexit 3\n")
    (folder / "systemctl").chmod(0o755)
    done = subprocess.run(
        ["sh", folder / "dump"],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:") as tar:
        assert "data/.storage/auth" in tar.getnames()
        assert "data/backups/older.tar" not in tar.getnames()
    shutil.rmtree(config)
    assert restore(config, done.stdout).returncode == 0
    assert (config / ".storage" / "auth").exists()

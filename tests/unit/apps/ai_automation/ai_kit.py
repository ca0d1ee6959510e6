"""What the tests of the AI automation service stand on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import paho.mqtt.client as paho
import yaml
from ai_peers import Peer
from paho.mqtt.enums import CallbackAPIVersion

from tests.ports import free_port

PROJECT = Path(__file__).parents[4]
SOURCE = PROJECT / "apps" / "ai_automation"
LOCK = SOURCE / "requirements.lock"
WAIT = 60.0  # seconds; what takes longer on two cores with twins beside has failed
TOKENS = {"all": "token-of-all", "reader": "token-of-reader", "caller": "token-of-caller"}
OLD_READER = "old-token-of-reader"  # still accepted: its token is being changed
SCOPES = {"all": ["read", "trigger"], "reader": ["read"], "caller": ["trigger"]}
SECRETS = {
    "home_assistant_token": "canary-ha-token",
    "mcp_hub_token": "canary-hub-token",
    "mqtt_password": "canary-mqtt-password",
    "model_key": "canary-model-key",
}
Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str = "it", wait: float = WAIT) -> Found:
    """What `look` finds, as soon as it finds something that is true."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {wait:g} s")


def make_venv(cache: Path) -> Path:
    """The Python of an environment made from the lock file, hashes checked; made once for each lock file."""
    folder = cache / hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    with (cache / "lock").open("w") as lock:  # pytest-xdist: one makes it, the other waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install(python, "--require-hashes", "-r", str(LOCK))
            (folder / "complete").touch()
    return python


def install(python: Path, *what: str) -> None:
    """pip install into an environment; by uv where there is one, which is faster."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    command = (
        [uv, "pip", "install", "-q", "--python", str(python)]
        if uv
        else [str(python), "-m", "pip", "install", "-q"]
    )
    subprocess.run([*command, *what], check=True, timeout=300)


class Mosquitto:
    """A real broker: a plain and a TLS listener, users with passwords, one topic that the service may not write."""  # noqa: E501

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = folder / "ca.pem"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self._files()
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def _files(self) -> None:
        key, passwords, acl = (self.folder / name for name in ("key.pem", "passwords", "acl"))
        make = (
            "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -subj /CN=127.0.0.1"
        )
        files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run([*make.split(), *files], check=True, capture_output=True)
        users = {"ai_automation": SECRETS["mqtt_password"], "tester": "tester"}
        passwords.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        acl.write_text(
            "user tester\ntopic readwrite #\n\n"
            "user ai_automation\ntopic readwrite ai_automation/#\ntopic readwrite sensors/#\ntopic readwrite out/#\n"  # noqa: E501
        )
        for file in (passwords, acl):
            file.chmod(0o600)
        (self.folder / "mosquitto.conf").write_text(
            f"user {'root' if os.geteuid() == 0 else 'mosquitto'}\npersistence false\nper_listener_settings false\n"  # noqa: E501
            f"password_file {passwords}\nacl_file {acl}\nallow_anonymous false\n"
            f"listener {self.port} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\ncertfile {self.certificate}\nkeyfile {key}\n"
        )

    def start(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        command = [binary, "-c", str(self.folder / "mosquitto.conf")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: _answers(self.port) and _answers(self.tls_port), "mosquitto")

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(WAIT)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Mqtt:
    """A real MQTT client that keeps all it hears."""

    def __init__(self, broker: Mosquitto, *topics: str) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("tester", "tester")
        self._client.on_message = lambda c, u, m: self.heard.append((m.topic, m.payload.decode(), m.retain))
        self._client.on_subscribe = lambda *args: self._subscribed.set()
        self._client.on_connect = lambda c, *args: c.subscribe([(topic, 1) for topic in topics or ("none",)])
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def __enter__(self) -> Mqtt:
        assert self._subscribed.wait(WAIT)
        return self

    def __exit__(self, *args: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, payload: Any, retain: bool = False) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self._client.publish(topic, text, 1, retain).wait_for_publish(WAIT)

    def payloads(self, topic: str) -> list[str]:
        return [payload for name, payload, _ in self.heard if name == topic]


def hashes(client: str, token: str) -> str | list[str]:
    """What the configuration holds of a client's token; of the reader's two."""
    found = [hashlib.sha256(text.encode()).hexdigest() for text in (token, OLD_READER)]
    return found if client == "reader" else found[0]


class Home:
    """The service with its files, in a folder of the test's own."""

    def __init__(self, folder: Path, python: Path, assistant: Peer, hub: Peer) -> None:
        self.folder = folder
        self.python = python
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=WAIT, trust_env=False)
        self.config: dict[str, Any] = {
            "listen": {"host": "127.0.0.1", "port": self.port},
            "rules": "rules.yaml",
            "state": "state",
            "secrets": "secrets.yaml",
            "clients": [
                {"name": n, "token_sha256": hashes(n, t), "scopes": SCOPES[n]} for n, t in TOKENS.items()
            ],
            "home_assistant": {"url": assistant.url, "timeout": WAIT},
            "mcp_hub": {"url": hub.url, "timeout": WAIT},
            "limits": {"stop_seconds": 3, "probe_seconds": 1},
        }
        self.secrets = dict(SECRETS)

    def with_mqtt(self, broker: Mosquitto, tls: bool = False) -> None:
        mqtt: dict[str, Any] = {"host": "127.0.0.1", "port": broker.port, "username": "ai_automation"}
        if tls:
            mqtt |= {"port": broker.tls_port, "ca_file": str(broker.certificate)}
        self.config["mqtt"] = mqtt

    def with_model(self, chat: Peer, timeout: float = WAIT) -> None:
        model = {"enabled": True, "url": f"{chat.url}/v1", "model": "tiny", "timeout": timeout}
        self.config["model"] = model

    def write(self, *automations: dict[str, Any]) -> None:
        self.write_rules(yaml.safe_dump({"automations": list(automations)}, sort_keys=False))
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        secrets = self.folder / "secrets.yaml"
        secrets.touch(0o600)
        secrets.write_text(yaml.safe_dump(self.secrets))

    def write_rules(self, text: str) -> None:
        (self.folder / "rules.yaml").write_text(text)

    def command(self, *more: str) -> list[str]:
        config = str(self.folder / "config.yaml")
        return [str(self.python), "-m", "ai_automation.cli", "--config", config, *more]

    def check(self) -> tuple[int, str]:
        """`ai-automation --config FILE --check`, in this process: exit status and all it said."""
        from ai_automation.cli import main
        from click.testing import CliRunner

        done = CliRunner().invoke(main, ["--config", str(self.folder / "config.yaml"), "--check"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    def check_by_hand(self) -> tuple[int, str]:
        """The same as the admin types it."""
        done = subprocess.run(self.command("--check"), env=_environment(), capture_output=True, timeout=WAIT)  # noqa: PLW1510
        return done.returncode, (done.stdout + done.stderr).decode()

    def serve(self, *automations: dict[str, Any]) -> None:
        """Write the files and serve."""
        self.write(*automations)
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=_environment(), stdout=log, stderr=log, start_new_session=True
            )
        until(self._healthy, "the service")

    def _healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        return self.reachable()

    def reachable(self) -> bool:
        """Whether it answers just now."""
        try:
            return self.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def terminate(self) -> int:
        """SIGTERM, as systemd does it; the exit status."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(WAIT)

    def kill(self) -> None:
        """SIGKILL to all its processes, as a power cut does it."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT)

    def end(self) -> None:
        self._client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def get(self, path: str, client: str = "all") -> httpx.Response:
        return self._client.get(path, headers=bearer(client))

    def post(self, path: str, body: Any = None, client: str = "all") -> httpx.Response:
        return self._client.post(path, json=body, headers=bearer(client))

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, path, **options)

    def trigger(self, automation: str, data: Any = None) -> str:
        """Trigger, and give the run's id at once."""
        answer = self.post(f"/api/automations/{automation}/trigger", {"data": data})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run"])

    def run(self, automation: str, data: Any = None) -> dict[str, Any]:
        """Trigger, and give the finished run."""
        answer = self.post(f"/api/automations/{automation}/trigger?wait=15", {"data": data})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ended(self, run: str, *states: str) -> dict[str, Any]:
        """The run when it is in one of these states."""

        def look() -> dict[str, Any] | None:
            found = dict(self.get(f"/api/runs/{run}").json())
            return found if found.get("state") in states else None

        return until(look, f"{states} of {run}")

    def runs(self, automation: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/runs?automation={automation}").json()["runs"])


@dataclass
class Standing:
    """A service for all tests of a module, with its stand-ins."""

    home: Home
    assistant: Peer
    hub: Peer

    def fresh(self, *automations: dict[str, Any]) -> Home:
        """Serving; the rules are those of the first call. What the stand-ins heard and answer is forgotten."""  # noqa: E501
        for peer in (self.assistant, self.hub):
            peer.requests.clear()
            peer.answers.clear()
        if self.home.process is None:
            self.home.serve(*automations)
        return self.home


def bearer(client: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.get(client, client)}"} if client else {}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def rule(name: str, *actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An automation that is called by name."""
    quick = {"times": 2, "delay": 0.05, "max_delay": 0.1}
    return {"id": name, "triggers": [{"rest": {}}], "retries": quick, "actions": list(actions), **more}


LIGHT = {"home_assistant": {"service": "light.turn_on", "target": {"entity_id": "light.hall"}}}


class Stream:
    """A WebSocket client, in a process of the service's environment: the library is there."""

    PROGRAM = """
import json, sys, threading, simple_websocket as s
try:
    ws = s.Client(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]} if sys.argv[2] else {})
except s.ConnectionError as e:
    print(json.dumps({"type": "refused", "status": e.status_code}), flush=True); sys.exit()
def read():
    for line in sys.stdin: ws.send(line.rstrip("\\n"))
threading.Thread(target=read, daemon=True).start()
try:
    # simple-websocket's client keeps what came in one packet with the handshake until more comes: ask for more.
    ws.send('{"type": "ping", "id": "more"}')
    while True:
        text = ws.receive()
        if json.loads(text).get("id") != "more": print(text, flush=True)
except s.ConnectionClosed as e:
    print(json.dumps({"type": "closed", "code": int(e.reason)}), flush=True)
"""  # noqa: E501

    def __init__(self, home: Home, client: str = "all") -> None:
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._first: dict[str, Any] = {}
        command = [
            str(home.python),
            "-c",
            self.PROGRAM,
            f"ws://127.0.0.1:{home.port}/ws",
            TOKENS.get(client, client),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.put(json.loads(line))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *args: object) -> None:
        self._process.kill()
        self._process.wait(WAIT)

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of this type; others are passed over."""
        while True:
            message = self._heard.get(timeout=WAIT)
            if message["type"] == kind:
                return message

    def first(self) -> dict[str, Any]:
        """The first message of all."""
        self._first = self._first or self._heard.get(timeout=WAIT)
        return self._first

    def state(self, run: str, state: str) -> dict[str, Any]:
        """The message that says so of a run."""
        while True:
            found = self.next("run")["run"]
            if (found["id"], found["state"]) == (run, state):
                return dict(found)

    def say(self, message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self._process.stdin.flush()

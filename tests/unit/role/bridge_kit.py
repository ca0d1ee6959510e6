"""Two real brokers on loopback from our files, and our bridge between them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from broker_kit import PROJECT, Broker, Mqtt, a_broker
from paho.mqtt.client import MQTTMessage
from role_kit import FakeRun, fleet, guest

from hearth.role.declaration import Need, Role, Topic

APPS = PROJECT / "apps"
SERVICE = "app-comms"  # a user who may use app/#
WAIT = 20.0


def a_run(*standbys: str) -> FakeRun:
    """A fleet with the primary `comms` and these standbys, all on loopback."""
    run = FakeRun(
        fleet(
            guest("comms", 135, "mosquitto", "app", address=IPv4Address("127.0.0.1")),
            *(guest(name, 140, "mosquitto", address=IPv4Address("127.0.0.1")) for name in standbys),
        )
    )
    run.roles["app"] = Role(needs=(Need("mosquitto", "mqtts", topics=(Topic("app/#"),)),), name="app")
    return run


class Bridge:
    """The bridge's own process, with the settings that role `mosquitto` writes.

    Args:
        primary: the first broker.
        standby: the broker of the guest that has the bridge.
    """

    def __init__(self, primary: Broker, standby: Broker) -> None:
        self.primary, self.standby = primary, standby
        self.root = Path(tempfile.mkdtemp(prefix="hearth-bridge-"))
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, **primary: Any) -> None:
        """The settings, with this test's ports and file of the authority."""
        from roles.mosquitto.bridge import settings

        (self.root / "ca.crt").write_text(self.primary.run.authority.ca_pem)
        found = json.loads(settings(self.primary.run.here(self.standby.guest, "mosquitto")))
        found["primary"] |= {"port": self.primary.tls_port, "ca": str(self.root / "ca.crt"), **primary}
        found["standby"] |= {"port": self.standby.plain_port}
        (self.root / "settings.json").write_text(json.dumps(found))

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    @property
    def state(self) -> Path:
        return self.root / "agreed.json"

    def start(self, wait: bool = True) -> None:
        """Run it; `wait` until both brokers agree."""
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-B",
                    "-m",
                    "mqtt_bridge",
                    str(self.root / "settings.json"),
                    str(self.state),
                ],
                cwd=APPS,
                stderr=log,
            )
        if wait:
            self.until(lambda: "both brokers agree" in self.log)

    def agreed_again(self) -> None:
        """Wait until both brokers agree once more than now."""
        before = self.log.count("both brokers agree")
        self.until(lambda: self.log.count("both brokers agree") > before)

    def agreed_on(self, topic: str, payload: str, at: Broker) -> None:
        """Something retained is said at one broker, and both retain it and nothing else."""
        keep(at, topic, payload)
        self.until(lambda: kept(self.primary) == kept(self.standby) == {topic: payload})

    def loses(self, broker: Broker) -> None:
        """A broker is stopped, and the bridge knows."""
        broker.stop()
        self.until(lambda: "apart" in self.log)

    def finds(self, broker: Broker, retained: Mapping[str, str]) -> None:
        """A broker that was stopped is there again, with messages that it has saved; both agree."""
        self.pause()
        broker.start()
        for topic, payload in retained.items():
            keep(broker, topic, payload)
        saved(broker)
        self.go_on()
        self.agreed_again()

    def pause(self) -> None:
        """Keep it from doing anything; the world goes on."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(WAIT)
            self.process = None

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while not holds():
            assert self.process is None or self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)


@contextlib.contextmanager
def a_bridge(primary: Broker, standby: Broker) -> Iterator[Bridge]:
    """A bridge that runs and has agreed once, within the block."""
    bridge = Bridge(primary, standby)
    bridge.write()
    try:
        bridge.start()
        yield bridge
    finally:
        bridge.stop()
        shutil.rmtree(bridge.root)


@contextlib.contextmanager
def a_pair() -> Iterator[tuple[Broker, Broker]]:
    """A primary and a standby that know nothing of each other yet."""
    run = a_run("standby")
    with a_broker(run, "comms") as primary, a_broker(run, "standby") as standby:
        yield primary, standby


def client(broker: Broker, user: str = SERVICE) -> Mqtt:
    """Logged in over TLS, by address."""
    return Mqtt("127.0.0.1", broker.tls_port, user, broker.password(user), broker.context())


def keep(broker: Broker, topic: str, payload: str) -> None:
    """Publish a retained message; an empty one deletes."""
    with client(broker) as who:
        who.publish(topic, payload, 1, retain=True)


def kept(broker: Broker, filter_: str = "app/#") -> dict[str, str]:
    """What a new client is told at once: the retained messages. Its own message comes after them.

    Only its own: the bridge may bring another one's end from the other broker at any time.
    """
    found: dict[str, str] = {}
    end = uuid.uuid4().hex
    with client(broker) as who:
        who.subscribe("app/end", 0)
        who.subscribe(filter_, 0)
        who.publish("app/end", end, 0)
        while (payload := (message := who.message()).payload.decode()) != end:
            if message.topic != "app/end":
                found[message.topic] = payload
    return found


def heard(who: Mqtt, silence: float = 0.7) -> list[MQTTMessage]:
    """Every message until it has been silent for so many seconds."""
    found: list[MQTTMessage] = []
    with contextlib.suppress(AssertionError):
        while True:
            found.append(who.message(silence))
    return found


def kill(broker: Broker) -> None:
    """As a power cut does it: nothing is saved."""
    assert broker.process
    os.kill(broker.process.pid, signal.SIGKILL)
    broker.process.wait(WAIT)


def saved(broker: Broker) -> None:
    """Have the broker write its retained messages now (mosquitto(8), SIGUSR1)."""
    file = broker.root / "db/mosquitto.db"
    before = file.stat().st_mtime_ns if file.exists() else 0
    assert broker.process
    broker.process.send_signal(signal.SIGUSR1)
    broker.until(lambda: file.exists() and file.stat().st_mtime_ns != before)

"""A real Mosquitto on loopback with the files that the role would put on a guest."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqtt_client import Mqtt, RefusedError
from role_kit import PROJECT, FakeRun, fleet, guest

from hearth.ops.files import File
from hearth.role.declaration import Need, Role, Topic
from hearth.secrets import mqtt_user
from tests.ports import free_port

DEVICES = {"lamp": {"publish": ["lamp/state"], "subscribe": ["lamp/set"]}}
WAIT = 10.0


def a_run() -> FakeRun:
    """A fleet with a broker, and a service that needs it: loopback stands in for the guest's address."""
    run = FakeRun(fleet(guest("localhost", 135, "mosquitto", "app", address="127.0.0.1")))
    run.roles["app"] = Role(needs=(Need("mosquitto", "mqtts", topics=(Topic("app/#"),)),), name="app")
    return run


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody used a moment ago."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def broker_files(run: FakeRun, name: str = "localhost", **data: Any) -> list[File]:
    """What the role puts on the guest, systemd's drop-in left out."""
    from roles.mosquitto import broker_files as files  # loaded by the catalogue

    found = files(run.here(name, "mosquitto", **{"mosquitto_devices": DEVICES, **data}))
    return [found.scratch, found.restarted, *found.reloaded]


@dataclass
class Broker:
    """A running broker.

    Args:
        run: the fleet it belongs to; its passwords are there.
        root: its folder, in place of /.
        tls_port, plain_port: where it listens on loopback.
        guest: whose files it has.
    """

    run: FakeRun
    root: Path
    tls_port: int
    plain_port: int
    guest: str = "localhost"
    process: subprocess.Popen[bytes] | None = None

    def write(self, **data: Any) -> None:
        """Put the role's files into the folder, with its paths and ports."""
        moved = {"/etc/mosquitto": f"{self.root}/etc/mosquitto", "/var/lib/mosquitto": f"{self.root}/db"}
        for file in broker_files(self.run, self.guest, **data):
            text = file.content
            if file.path.endswith(".conf"):
                for old, new in moved.items():
                    text = text.replace(old, new)
                for port, here in ((8883, self.tls_port), (1883, self.plain_port)):
                    text = re.sub(rf"\blistener {port}\b", f"listener {here} 127.0.0.1", text)
            path = Path(f"{self.root}{file.path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(int(file.mode, 8))
            own(path, file.user)

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def start(self) -> None:
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["mosquitto", "-c", f"{self.root}/etc/mosquitto/mosquitto.conf"], stderr=log, stdout=log
            )
        self.until(lambda: answers(self.plain_port) and answers(self.tls_port))

    def reload(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGHUP)

    def until(self, holds: Any) -> None:
        end = time.monotonic() + WAIT
        while not holds():
            assert self.process
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(WAIT)

    def password(self, user: str) -> str:
        return mqtt_user(self.run.secrets, user).password.reveal()

    def context(self) -> ssl.SSLContext:
        """TLS that trusts the fleet's authority and nobody else."""
        return ssl.create_default_context(cadata=self.run.authority.ca_pem)

    def login(self, user: str) -> Mqtt:
        return Mqtt("localhost", self.tls_port, user, self.password(user), self.context())


def own(path: Path, user: str) -> None:
    """Give a file to its owner, where the tests run as root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def answers(port: int) -> bool:
    """Does something listen?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def a_broker(run: FakeRun | None = None, guest: str = "localhost", **data: Any) -> Iterator[Broker]:
    """A broker that runs within the block; its folder is gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="hearth-broker-"))
    root.chmod(0o755)
    (root / "db").mkdir()
    own(root / "db", "mosquitto")
    tls_port, plain_port = free_ports(2)
    broker = Broker(run or a_run(), root, tls_port, plain_port, guest)
    try:
        broker.write(**data)
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(root)


__all__ = ["PROJECT", "Broker", "Mqtt", "RefusedError", "a_broker", "a_run", "broker_files"]

"""Guests that can be collected from: real sshd's on loopback, with the forced command of role `state`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hearth.backup.onguest.keeper import Keeper

PROJECT = Path(__file__).parents[3]
WAIT = 15.0  # seconds


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def key_pair(path: Path) -> str:
    """A new SSH key; its public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@dataclass
class FakeGuest:
    """A guest as far as the collector knows it.

    Args:
        name: its name.
        root: its folder.
        port: of its sshd, on loopback.
    """

    name: str
    root: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def keeps(self, *entries: dict[str, Any]) -> None:
        """What its roles keep."""
        (self.root / "state.json").write_text(json.dumps({"guest": self.name, "state": list(entries)}))

    def prepare(self, public: str) -> None:
        """Its program, host key and login."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "hearth_backup").symlink_to(PROJECT / "hearth" / "backup" / "onguest")
        run = self.root / "dump.py"
        run.write_text(
            "import sys\nfrom pathlib import Path\n"
            f"sys.path.insert(0, {str(self.root)!r})\n"
            "from hearth_backup.__main__ import main\n"
            f"root = Path({str(self.root)!r})\n"
            "sys.exit(main(['dump'], root / 'state.json', root / 'lock', root / 'spool'))\n"
        )
        # The very line that role `state` writes; loopback and this program stand in for the guest's.
        line = (
            key_line()
            .replace("sudo -n /usr/local/sbin/hearth-state dump", f"/usr/bin/python3 -B {run}")
            .replace("192.168.1.139", "127.0.0.1")
        )
        (self.root / "keys").write_text(line.replace("PUBLIC", public))
        key_pair(self.root / "host")
        (self.root / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.root}/host\n"
            f"AuthorizedKeysFile {self.root}/keys\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        self.keeps()

    @property
    def known(self) -> str:
        kind, key = (self.root / "host.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", self.root / "sshd_config"], stderr=log
            )
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None


def key_line() -> str:
    """What role `state` writes for a collector at 192.168.1.139, the key left to be filled in."""
    from role_kit import FakeRun, fleet, guest

    run = FakeRun(fleet(guest("comms", 135, "mosquitto"), guest("data", 139, "config_backup")))
    from roles.state import key_line as line  # loaded by the catalogue

    found = line(run.here("comms", "state"))
    options, kind, _ = found.partition(" ssh-ed25519 ")
    assert kind
    return f"{options} PUBLIC\n"


@dataclass
class Home:
    """Guests, and the keeper of their states.

    Args:
        folder: everything of it.
        guests: by name.
    """

    folder: Path
    guests: dict[str, FakeGuest]

    def settings(self, **more: Any) -> dict[str, Any]:
        """As role `config_backup` writes them."""
        return {
            "folder": str(self.folder / "kept"),
            "guests": [
                {"name": guest.name, "address": "127.0.0.1", "port": guest.port}
                for guest in self.guests.values()
            ],
            "user": "root",
            "key": str(self.folder / "key"),
            "known_hosts": str(self.folder / "known_hosts"),
            "password": str(self.folder / "password"),
            "fleet": str(self.folder / "fleet"),
            "seconds": 30,
            "at_once": 2,
            "retention": {"daily": 7, "last": 20},
            **more,
        }

    def keeper(self, remote: dict[str, Any] | None = None, **more: Any) -> Keeper:
        return Keeper(self.settings(**more), remote)

    def metrics(self, name: str) -> dict[str, float]:
        """A textfile's samples."""
        lines = (self.folder / "kept" / "metrics" / name).read_text().splitlines()
        return {
            key: float(value)
            for key, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
        }


@contextmanager
def a_home(*names: str) -> Iterator[Home]:
    """Guests of these names that run, and a keeper for them."""
    folder = Path(tempfile.mkdtemp(prefix="hearth-home-"))
    folder.chmod(0o755)
    home = Home(folder, {name: FakeGuest(name, folder / name) for name in names})
    try:
        public = key_pair(folder / "key")
        (folder / "password").write_text("correct horse\n")
        (folder / "fleet").mkdir()
        (folder / "fleet" / "secrets.age").write_text("-----BEGIN AGE ENCRYPTED FILE-----\n")
        (folder / "kept").mkdir(mode=0o700)
        for guest in home.guests.values():
            guest.prepare(public)
            guest.start()
        (folder / "known_hosts").write_text("".join(guest.known for guest in home.guests.values()))
        yield home
    finally:
        for guest in home.guests.values():
            guest.stop()
        shutil.rmtree(folder)


def state(folder: Path, text: str) -> dict[str, Any]:
    """A role's state: one file with this text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text(text)
    return {"name": f"{folder.name}-0", "role": folder.name, "path": str(folder)}


def damage(place: Path) -> None:
    """Flip a byte in a pack, or in every pack of a repository: what a failing disk does."""
    for pack in [place] if place.is_file() else (place / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            content = bytearray(pack.read_bytes())
            content[len(content) // 3] ^= 0xFF
            pack.write_bytes(content)

"""`hearth drift` inside a guest: a real sshd on loopback, whose machine has a role's files; all of it for real.

The role writes below the test's own folder. Nobody deploys: the test puts the files there itself.
"""
# ruff: noqa: E501  settings and cases, a line each

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hearth.secrets import SecretStore, ensure_ssh_key
from tests.api.run.conftest import PROJECT, Home, container, fleet_of

pytestmark = pytest.mark.slow

ADDRESS = "127.9.9.135"
HEARTH = str(Path(sys.executable).with_name("hearth"))
SECRET = "canary-5d2e"
ROLE = '''
"""Two files, one of them secret, a command that is needed or not, and one that follows from a file."""

from pyinfra.operations import server

from hearth.ops import files, shell
from hearth.ops.files import File
from hearth.role.declaration import Role

role = Role()


@role.deploy
def base(here):
    plain = File("{folder}/plain", "wanted\\n", mode="644")
    secret = File("{folder}/secret", "{secret}", mode="600", secret=True)
    changed = files.present(name="Put the files", files=[plain, secret])
    shell.ensure(name="Have a mark", holds="[ -e {folder}/mark ]", command="touch {folder}/mark")
    server.shell(name="Tell of the files", commands=["true"], _if=changed.did_change)
'''


@dataclass
class Inside:
    """A home of one guest, whose inside is a folder of the test's."""

    home: Home
    project: Path
    folder: Path

    def drift(self) -> tuple[int, dict[str, Any], str]:
        """`hearth drift --json`: its code, what it says, and all that was printed."""
        before = len(self.home.pve.log.requests)
        process = self.home.start("--project", str(self.project), "drift", "--json", program=HEARTH)
        out, err = process.communicate(timeout=90)
        assert [asked for asked in self.home.pve.log.requests[before:] if asked.method != "GET"] == []
        return process.returncode, json.loads(out), out + err

    def clean(self) -> None:
        """As a deploy would leave it."""
        for name, content, mode in (
            ("plain", "wanted\n", 0o644),
            ("secret", SECRET, 0o600),
            ("mark", "", 0o644),
        ):
            (self.folder / name).write_text(content)
            (self.folder / name).chmod(mode)


def a_port() -> int:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        return int(free.getsockname()[1])


@pytest.fixture
def sshd(home: Home) -> Iterator[int]:
    """A real sshd that takes Hearth's own key; gives its port."""
    store = SecretStore(Path(home.env["HEARTH_SECRETS"]), Path(home.env["HEARTH_AGE_KEY_FILE"]))
    public = ensure_ssh_key(store, "deploy")[1]
    store.save()
    place, port = home.place / "sshd", a_port()
    place.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / "host")], check=True)
    (place / "keys").write_text(f"{public}\n")
    (place / "conf").write_text(
        f"ListenAddress {ADDRESS}:{port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/keys\nStrictModes no\n"
        f"PidFile none\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's place for privilege separation
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(place / "conf")], stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 15
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((ADDRESS, port), 1):
            break
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def inside(home: Home, sshd: int, tmp_path: Path) -> Inside:
    """The home, deployed as far as Proxmox is concerned, and its guest's inside as a deploy would leave it."""
    project, folder = tmp_path / "project", tmp_path / "guest"
    folder.mkdir()
    for name in ("inventory/__init__.py", "config.py", "deploy.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, project / name)
    (project / "group_data").mkdir()
    (project / "group_data" / "all.py").write_text(f"ssh_port = {sshd}\n")
    (project / "roles").mkdir()
    (project / "templates").mkdir()
    (project / "roles" / "base.py").write_text(
        ROLE.replace("{folder}", str(folder)).replace("{secret}", SECRET)
    )
    guest = container(network="here", address=ADDRESS)
    fleet = fleet_of(comms=guest)
    fleet["networks"]["here"] = {"bridge": "vmbr0", "subnet": "127.9.9.0/24"}
    home.declare(fleet)
    home.deploy().went_well()
    home.declare({**fleet, "guests": {"comms": {**guest, "appliance": False}}})
    found = Inside(home, project, folder)
    found.clean()
    return found


def test_what_is_as_it_should_be_is_silent(inside: Inside) -> None:
    code, found, said = inside.drift()
    assert (code, found["drift"], found["errors"]) == (0, [], []), said
    assert SECRET not in said


HANDS: dict[str, tuple[Callable[[Path], object], set[tuple[str, str, str]]]] = {
    "content": (lambda at: (at / "plain").write_text("mine\n"), {("file", "plain", "content")}),
    "mode": (lambda at: (at / "secret").chmod(0o644), {("file", "secret", "mode")}),
    "both": (lambda at: (at / "secret").write_text("x") and (at / "secret").chmod(0o640),
             {("file", "secret", "content"), ("file", "secret", "mode")}),
    "gone": (lambda at: (at / "plain").unlink(), {("file", "plain", "file")}),
    "a step": (lambda at: (at / "mark").unlink(), {("step", "Have a mark", "")}),
}  # fmt: skip


def test_each_hand_is_found_by_its_field_and_nothing_else_and_nothing_is_touched(inside: Inside) -> None:
    for name, (hand, told) in HANDS.items():
        inside.clean()
        hand(inside.folder)
        before = {path.name: (path.read_text(), path.stat().st_mode) for path in inside.folder.iterdir()}
        code, found, said = inside.drift()
        assert code == 2, (name, said)
        assert {(each["subject"], each["kind"]) for each in found["drift"]} == {
            ("comms", kind) for kind, _, _ in told
        }
        things = {
            (f["kind"], f["thing"].rpartition("/")[2].rpartition("| ")[2], f["field"]) for f in found["drift"]
        }
        assert things == told, name
        assert {
            path.name: (path.read_text(), path.stat().st_mode) for path in inside.folder.iterdir()
        } == before
        assert SECRET not in said, name

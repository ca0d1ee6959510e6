"""A proven state on its way to its guest: over a real SSH connection, into the real program there."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import paramiko
import pytest
from backup_kit import Home, a_home, state

from hearth.backup.onguest.collect import kept_manifest
from hearth.backup.onguest.restic import ResticError
from hearth.backup.proof import Proven, Snapshot
from hearth.backup.sending import send
from hearth.errors import HearthError


class Folder:
    """A repository that is a folder: what `dump` gives is the file itself."""

    name, key = "the folder", "local"

    def __init__(self) -> None:
        self.cut: int | None = None
        self.fails = False

    @contextmanager
    def read(self, *words: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(Path(words[-1]).read_bytes()[: self.cut])
        if self.fails:
            raise ResticError("the disk is gone")


@pytest.fixture
def home() -> Iterator[Home]:
    with a_home("comms") as found:
        guest = found.guests["comms"]
        guest.keeps(state(guest.root / "greeter", "as it was"), state(guest.root / "other", "other"))
        assert found.keeper().collect() == []
        yield found


@pytest.fixture
def proven(home: Home) -> Proven:
    guests = home.folder / "kept" / "current" / "guests"
    manifest = kept_manifest(guests / "comms")
    assert manifest
    return Proven(Snapshot(Folder(), "latest", datetime.now(UTC), str(guests)), {"comms": manifest})


@pytest.fixture
def session(home: Home) -> Iterator[Callable[[], Any]]:
    """Opens channels to the guest, as root with a shell: what restore.py has."""
    guest = home.guests["comms"]
    (guest.root / "keys").write_text((home.folder / "key.pub").read_text())
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", guest.port, "root", key_filename=str(home.folder / "key"))
    transport = client.get_transport()
    assert transport
    yield transport.open_session
    client.close()


def command(home: Home, role: str) -> str:
    root = home.guests["comms"].root
    script = root / "restore.py"
    script.write_text((root / "dump.py").read_text().replace("['dump']", f"['restore', {role!r}]"))
    return f"/usr/bin/python3 -B {script}"


def test_a_role_comes_back_and_no_other(home: Home, proven: Proven, session: Callable[[], Any]) -> None:
    root = home.guests["comms"].root
    for name in ("greeter", "other"):
        (root / name / "file").write_text("newer")
    said = send(proven, "comms", "greeter", session, command(home, "greeter"))
    assert "greeter-0: back" in said
    assert (root / "greeter" / "file").read_text() == "as it was"
    assert (root / "other" / "file").read_text() == "newer"


def test_what_breaks_off_on_the_way_changes_nothing(
    home: Home, proven: Proven, session: Callable[[], Any]
) -> None:
    root, source = home.guests["comms"].root, proven.snapshot.source
    assert isinstance(source, Folder)
    (root / "greeter" / "file").write_text("newer")
    source.cut = 100
    with pytest.raises(ResticError, match="not what it was"):
        send(proven, "comms", "greeter", session, command(home, "greeter"))
    source.cut, source.fails = None, True
    with pytest.raises(ResticError, match="disk is gone"):
        send(proven, "comms", "greeter", session, command(home, "greeter"))
    assert (root / "greeter" / "file").read_text() == "newer"


def test_what_the_guest_refuses_is_told(home: Home, proven: Proven, session: Callable[[], Any]) -> None:
    with pytest.raises(HearthError, match="no role nobody"):
        send(proven, "comms", "greeter", session, command(home, "nobody"))
    with pytest.raises(HearthError, match=r"not found|No such file"):
        send(proven, "comms", "greeter", session, "/nowhere/hearth-state restore")

"""What a drill is made of: the machine it needs, Proxmox's files, commands that end, what restore.py left."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from hearth.backup import record
from hearth.backup.onguest.stream import Piece
from hearth.backup.timeline import Event, Verdict
from hearth.drill.archives import is_of_qemu, newest
from hearth.drill.commands import Commands, interruptible, undisturbed
from hearth.drill.hold import machine
from hearth.drill.stages import Result, Stages, write
from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.report import drill as page
from hearth.values import overrides

BEGAN = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)


def guest(name: str, vmid: int, kind: Literal["lxc", "vm"] = "lxc") -> Guest:
    return Guest(name=name, vmid=vmid, kind=kind, node="pve")


# ---------------------------------------------------------------- the machine


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HearthError, match=r"needs root.*sudo hearth drill"):
        machine()


def test_without_restic_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(HearthError, match=r"apt install restic|not Debian"):
        machine()


def test_without_what_the_twin_is_made_of_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/restic")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HearthError, match=r"requirements-dev|not Debian"):
        machine()


# ------------------------------------------------------------ Proxmox's files


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    for name in (
        *("vzdump-lxc-135-2026_11_28-02_00_00.tar.zst", "vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"),
        *("vzdump-qemu-136-2026_11_29-02_00_00.vma.zst", "vzdump-lxc-136-2026_11_30-02_00_00.tar.zst"),
        *("vzdump-lxc-135-2026_11_30-02_00_00.log", "vzdump-lxc-135-2026_12_01-02_00_00.tar.dat"),
    ):
        (tmp_path / name).touch()
    return tmp_path


def test_the_newest_of_each_guest_and_of_its_kind(dump: Path) -> None:
    guests = [guest("comms", 135), guest("database", 136, "vm"), guest("data", 139)]
    found = {name: file.name for name, file in newest(dump, guests, None).items()}
    assert found == {
        "comms": "vzdump-lxc-135-2026_11_30-02_00_00.tar.zst",
        "database": "vzdump-qemu-136-2026_11_29-02_00_00.vma.zst",
    }


def test_none_that_is_newer_than_a_date(dump: Path) -> None:
    found = newest(dump, [guest("comms", 135)], datetime(2026, 11, 29, tzinfo=UTC))
    assert found["comms"].name == "vzdump-lxc-135-2026_11_28-02_00_00.tar.zst"
    assert newest(dump, [guest("comms", 135)], datetime(2026, 11, 27, tzinfo=UTC)) == {}


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(HearthError, match="drill_archives"):
        newest(tmp_path / "nowhere", [], None)


@pytest.mark.parametrize(
    ("content", "real"), [(b"VMA\0\0\0\0\1", True), (b"./qemu-server.conf", False), (b"", False)]
)
def test_what_is_of_a_real_vm(tmp_path: Path, content: bytes, real: bool) -> None:
    plain = tmp_path / "vzdump-qemu-136-2026_11_29-02_00_00.vma"
    plain.write_bytes(content)
    assert is_of_qemu(plain) is real
    if shutil.which("zstd"):
        subprocess.run(["zstd", "-q", str(plain)], check=True)
        assert is_of_qemu(plain.with_suffix(".vma.zst")) is real


# ------------------------------------------------------------------- commands


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path, tmp_path / "log", lambda text: None)


def test_what_a_command_says_is_heard_and_kept(commands: Commands, tmp_path: Path) -> None:
    assert commands.run("speak", ["sh", "-c", "echo out; echo err >&2"], os.environ) == "out"
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_one_that_fails_is_told_with_its_last_words(commands: Commands) -> None:
    with pytest.raises(HearthError, match=r"cannot speak: .*because"):
        commands.run("speak", ["sh", "-c", "echo because >&2; exit 3"], os.environ)


def test_a_signal_ends_the_command_too(commands: Commands, tmp_path: Path) -> None:
    """And whatever it has started: an orphan would go on in the twin."""
    marker = tmp_path / "marker"
    script = f"trap 'exit 0' INT; touch {marker}; while :; do sleep 0.1; done"

    def stop() -> None:
        while not marker.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        commands.run("wait", ["sh", "-c", script], os.environ)
    assert time.monotonic() - began < 20
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_nobody_disturbs_what_takes_things_away() -> None:
    before = signal.getsignal(signal.SIGINT)  # whoever runs the tests in the background ignores it
    with undisturbed():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) == before


# ------------------------------------------------------------ what is written


def test_a_stage_that_fails_has_its_reason(tmp_path: Path) -> None:
    result, said = Result(BEGAN), list[str]()
    ticks = iter([0.0, 1.0, 1.0, 4.0, 9.0])
    stages = Stages(result, said.append, lambda: next(ticks))
    with pytest.raises(HearthError), stages.stage("twin made"):
        stages.now()
        raise HearthError("make the twin", "no room")
    (stage,) = result.stages
    assert (stage.name, stage.ok, said) == ("twin made", False, ["twin made"])
    assert "no room" in stage.note
    assert not page.of(result.to_json()).good


@pytest.mark.skipif(bool(os.geteuid()), reason="needs root")
def test_the_result_is_the_admins_and_not_roots(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    facts = write(tmp_path, Result(BEGAN)).stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (1234, 1234, 0o600)


def test_an_objective_that_is_missed_is_no_good_drill() -> None:
    missed = Verdict("everything", 20.0, 10.0, False).to_json()
    assert not Result(BEGAN, objectives=[missed]).good
    assert "MISSED: everything" in "\n".join(Result(BEGAN, objectives=[missed]).lines())


def test_what_restore_left_is_read_as_it_was_written(tmp_path: Path) -> None:
    piece = Piece(
        "mosquitto-0", "mosquitto", "/var/lib/mosquitto", "files", 18, made="2026-11-30T01:00:00+00:00"
    )
    written = record.Record(
        source="the backup of 2026-11-30",
        events=(Event(2.0, "comms", "mosquitto is done", "mosquitto"), Event(1.0, "", "proven")),
        pieces=(("comms", piece),),
        archives={"data": ("local:backup/vzdump-lxc-139-x.tar.zst", BEGAN)},
        missing=("data/x-0",),
        verified=True,
        verdicts=(Verdict("everything", 2.0, 10.0, True),),
    )
    record.write(tmp_path, written)
    found = record.read(tmp_path)
    assert found == written.to_json()
    assert record.events(found) == [
        Event(1.0, "", "proven"),
        Event(2.0, "comms", "mosquitto is done", "mosquitto"),
    ]
    assert found["restored"][0] == {
        **{"guest": "comms", "role": "mosquitto", "state": "mosquitto-0"},
        **{"made": "2026-11-30T01:00:00+00:00", "bytes": 18},
    }


def test_without_a_record_there_is_none_and_a_broken_one_is_told(tmp_path: Path) -> None:
    assert record.read(tmp_path) is None
    (tmp_path / record.FILE).write_text("{")
    with pytest.raises(HearthError, match=r"restore\.json"):
        record.read(tmp_path)


def test_of_several_files_of_overrides_the_last_wins(tmp_path: Path) -> None:
    for name, content in (("a", {"x": 1, "y": 1}), ("b", {"y": 2})):
        (tmp_path / name).write_text(json.dumps(content))
    assert overrides({"HEARTH_OVERRIDES": f"a:{tmp_path / 'b'}"}, tmp_path) == {"x": 1, "y": 2}
    assert overrides({"HEARTH_OVERRIDES": "a"}, tmp_path) == {"x": 1, "y": 1}
    with pytest.raises(HearthError, match="c, which HEARTH_OVERRIDES names"):
        overrides({"HEARTH_OVERRIDES": "a:c"}, tmp_path)

"""What operations note for `hearth drift`: why they would change something, field by field, and no secret."""

from __future__ import annotations

import getpass
import grp
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ops_kit import preparing
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage

from hearth.ops import files, shell, systemd, tailscale
from hearth.ops.facts import UnitState
from hearth.ops.files import File
from hearth.ops.noted import Lack, noted
from hearth.tailnet.membership import Membership, Settings

ME = getpass.getuser()
MINE = grp.getgrgid(os.getegid()).gr_name
EARLY = datetime(2026, 11, 1, tzinfo=UTC)
LATE = EARLY + timedelta(hours=1)


def planned(*wanted: File) -> tuple[Lack, ...]:
    """What `files.present` notes while it is planned."""
    with preparing() as host:
        meta = files.present(name="Put files", files=list(wanted))
        return noted(host, meta._hash).lacks


def a_file(path: Path, content: str = "wanted", **more: Any) -> File:
    return File(str(path), content, **{"user": ME, "group": MINE, "mode": "640", **more})


def put(path: Path, content: str = "wanted", mode: int = 0o640) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_file_as_it_should_be_notes_nothing(tmp_path: Path) -> None:
    assert planned(a_file(put(tmp_path / "a"))) == ()


def test_a_missing_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    assert planned(a_file(tmp_path / "a")) == (Lack("file", path, "file", "missing", "there"),)


def test_each_field_on_its_own_and_only_the_files_that_differ(tmp_path: Path) -> None:
    put(tmp_path / "same")
    put(tmp_path / "mode", mode=0o666)
    put(tmp_path / "content", "secret 7c1f")
    found = planned(*(a_file(tmp_path / name) for name in ("same", "mode", "content")))
    assert [(Path(lack.thing).name, lack.field) for lack in found] == [
        ("mode", "mode"),
        ("content", "content"),
    ]
    assert (found[0].now, found[0].wanted) == ("666", "640")
    assert "7c1f" not in str(found)
    # Nor its digest: what it is of can be guessed.
    assert (found[1].now, found[1].wanted) == ("otherwise", "Hearth's")


def test_both_fields_of_one_file(tmp_path: Path) -> None:
    assert {lack.field for lack in planned(a_file(put(tmp_path / "a", "x", 0o600)))} == {"content", "mode"}


def test_executed_operations_note_nothing_more(tmp_path: Path) -> None:
    with preparing() as host:
        meta = files.present(name="Put", files=[a_file(tmp_path / "a")])
        host.state.set_stage(StateStage.Execute)
        run_ops(host.state)
        assert meta.did_succeed()
        assert len(noted(host, meta._hash).lacks) == 1


def test_what_notes_nothing_has_an_empty_note() -> None:
    with preparing() as host:
        meta = shell.ensure(name="Have it", holds="false", command="true")
        assert noted(host, meta._hash).lacks == ()


UP = UnitState(loaded=True, active=True, enabled=True, started=EARLY, told=EARLY)


@pytest.mark.parametrize(
    ("unit", "fields"),
    [
        (UP, []),
        (UnitState(loaded=True, active=False, enabled=True), ["state"]),
        (UnitState(loaded=True, active=True, enabled=False, started=EARLY, told=EARLY), ["enabled"]),
        (UnitState(loaded=True, active=False, enabled=False), ["enabled", "state"]),
        (UnitState(True, True, True, True, False, EARLY, EARLY), ["unit"]),
        (UnitState(True, True, True, started=EARLY, told=EARLY, changed=(("/etc/a", LATE),)), ["files"]),
        (UnitState(True, True, True, started=EARLY, told=LATE, changed=(("/etc/r", EARLY),)), []),
        (UnitState(loaded=True, active=False, enabled=True, skipped=True), []),
    ],
)
def test_a_unit_field_by_field(unit: UnitState, fields: list[str]) -> None:
    found = systemd.lacks("it.service", unit, {"/etc/a"}, {"/etc/r"}, set())
    assert [lack.field for lack in found] == fields
    assert bool(found) == bool(systemd.decide(unit, {"/etc/a"}, {"/etc/r"}, set()))


def test_a_restart_that_only_follows_from_a_changed_file_is_no_finding() -> None:
    edited = UnitState(True, True, True, started=EARLY, told=EARLY, changed=(("/etc/a", LATE),))
    assert systemd.decide(edited, {"/etc/a"}, set(), {"/etc/a"})
    assert systemd.lacks("it.service", edited, {"/etc/a"}, set(), {"/etc/a"}) == []


@pytest.mark.parametrize(
    ("now", "fields"),
    [
        (Membership(), []),
        (Membership("Running", settings=Settings("comms").flags()), []),
        (Membership("Running", settings=Settings("comms", accept_dns=True).flags()), ["accept-dns"]),
        (Membership("Stopped", settings=Settings("comms", ssh=True).flags()), ["ssh", "state"]),
    ],
)
def test_settings_of_tailscale_field_by_field(now: Membership, fields: list[str]) -> None:
    assert [lack.field for lack in tailscale.lacks(now, Settings("comms"))] == fields

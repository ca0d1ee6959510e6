"""What a plan says of a changed pin; an older version is refused; copies go when their time is over."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ops_kit import Absent, preparing, run
from pyinfra.api.operation import OperationMeta
from pyinfra.context import host as pyinfra_host

from hearth.commandline import show
from hearth.errors import HearthError
from hearth.ops import release, upgrade
from hearth.ops.noted import noted
from hearth.role.declaration import Directory, Role

KEEPS = Role(name="app", state=(Directory("/var/lib/app"),))


@pytest.mark.parametrize(
    ("ident", "version"),
    [
        ("1.37.3-0123456789ab", "1.37.3"),
        ("2026.12.0b1-0123456789ab", "2026.12.0"),
        ("headscale_0.29.4_linux_amd64-0123456789ab", "0.29.4"),
        ("v1.2.0-0123456789ab", "1.2.0"),
        ("2-0123456789ab", "2"),
        ("path-0123456789ab", ""),
        ("1587c45feaa4-0123456789ab", ""),
        ("12345678901234-0123456789ab", ""),
        ("0123456789ab", ""),
        ("", ""),
    ],
)
def test_a_release_says_its_version_or_has_none(ident: str, version: str) -> None:
    assert upgrade.version_of(ident) == version


def ident(label: str, digit: str = "0") -> str:
    return f"{label}-{digit * 12}"


OLD, NEW, OTHER = ident("1.9"), ident("1.10"), ident("1.9", "1")


@pytest.mark.parametrize(
    ("proven", "wanted", "failed", "words"),
    [
        (OLD, NEW, "", "upgrade 1.9 -> 1.10, its data are kept first"),
        (NEW, OLD, "", "downgrade 1.10 -> 1.9, its data are kept first"),
        (OLD, OTHER, "", "another build of 1.9, its data are kept first"),
        (ident("path"), ident("path", "1"), "", f"upgrade {ident('path')} -> {ident('path', '1')}"),
        (OLD, NEW, f"{NEW} 2026-11-30T14:02:11Z", "(it failed at 2026-11-30T14:02:11Z and is tried again)"),
        (OLD, NEW, f"{OTHER} 2026-11-30T14:02:11Z", "upgrade 1.9 -> 1.10, its data are kept first"),
        ("", NEW, "", ""),
        (NEW, NEW, f"{OTHER} 2026-11-30T14:02:11Z", ""),
    ],
)
def test_the_plan_says_what_becomes_of_a_program(proven: str, wanted: str, failed: str, words: str) -> None:
    said = upgrade.described(proven, wanted, True, failed)
    assert words in said
    assert bool(said) is bool(words)
    assert ("failed" in said) is ("failed" in words)


def test_a_program_without_data_has_none_to_keep() -> None:
    assert upgrade.described(OLD, NEW, False) == "upgrade 1.9 -> 1.10"


@pytest.fixture
def opt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guest on which `app` 1.9 has proved itself."""
    monkeypatch.setattr(release, "ROOT", str(tmp_path))
    monkeypatch.setattr(release, "UPGRADES", str(tmp_path / "upgrades"))
    monkeypatch.setattr(release, "BUILDER", "nobody")
    # No systemd here: a unit that is not there.
    monkeypatch.setattr(release.Unit, "command", lambda *_, **__: "echo")
    folder = tmp_path / "app"
    (folder / "releases" / OLD).mkdir(parents=True)
    (folder / "current").symlink_to(f"releases/{OLD}")
    (folder / "proven").write_text(f"{OLD}\n")
    return tmp_path


def planned(role: Role, wanted: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """What a plan says of a program, and its fields that differ."""
    with preparing() as host:
        meta = release.active(role, "app", wanted, "no-such.service", "true", name="Run it")
        found = noted(host, meta._hash)
    return found.says, {lack.field: (lack.now, lack.wanted) for lack in found.lacks}


def test_a_changed_pin_is_planned_as_an_upgrade(opt: Path) -> None:
    (opt / "app/failed").write_text(f"{NEW} 2026-11-30T14:02:11Z\n")
    says, fields = planned(KEEPS, NEW)
    assert says == (
        "upgrade 1.9 -> 1.10, its data are kept first (it failed at 2026-11-30T14:02:11Z and is tried again)"
    )
    assert fields["release"] == (OLD, NEW)
    assert planned(Role(name="app"), NEW)[0].startswith("upgrade 1.9 -> 1.10 (")
    assert planned(KEEPS, OLD)[0] == ""


def test_the_plan_that_people_read_has_it(opt: Path) -> None:
    with preparing() as host:
        release.active(KEEPS, "app", NEW, "no-such.service", "true", name="Run it")
        lines = list(show._operations(host.state, host.state.get_op_order(), host))
        steps = list(show._steps(host.state, host.state.get_op_order(), host))
    assert lines == [("Run it: upgrade 1.9 -> 1.10, its data are kept first", "change")]
    assert steps[0]["says"] == "upgrade 1.9 -> 1.10, its data are kept first"


OLDER = ident("1.8")


def built(wanted: str, data: dict[str, str]) -> OperationMeta:
    """`release.built` of a build that fails, with `--data`."""

    def operation() -> OperationMeta:
        for key, value in data.items():
            setattr(pyinfra_host.data, key, value)
        return release.built("app", wanted, "exit 7", name="Build")

    return run(operation)


@pytest.mark.parametrize("data", [{}, {"downgrade": "other"}, {"downgrade": ""}])
def test_an_older_version_is_refused_before_anything_is_touched(opt: Path, data: dict[str, str]) -> None:
    before = sorted(opt.rglob("*"))
    done = built(OLDER, data)
    assert not done.did_succeed()
    assert "cannot downgrade app on @local from 1.9 to 1.8" in done.stderr
    assert "--data downgrade=app" in done.stderr
    assert sorted(opt.rglob("*")) == before


@pytest.mark.parametrize(("wanted", "data"), [(OLDER, {"downgrade": "x, app"}), (NEW, {}), (OTHER, {})])
@pytest.mark.skipif(os.geteuid() != 0, reason="a build becomes another user: root only")
def test_whatever_else_is_built(opt: Path, wanted: str, data: dict[str, str]) -> None:
    done = built(wanted, data)
    assert "cannot downgrade" not in done.stderr
    assert "the build of" in done.stderr, "it was begun"


@pytest.mark.parametrize(
    ("role", "named"), [("home-assistant", "home_assistant"), ("ai_automation", "ai-automation")]
)
def test_a_program_may_be_named_as_its_role(role: str, named: str) -> None:
    assert upgrade.refusal(role, "guest", NEW, OLD, {"downgrade": named}) == ""


@pytest.mark.parametrize(("age", "kept"), [(13, True), (15, False)])
def test_the_copy_goes_when_its_time_is_over(
    opt: Path, monkeypatch: pytest.MonkeyPatch, age: int, kept: bool
) -> None:
    about = opt / "upgrades/app.json"
    about.parent.mkdir()
    about.write_text("{}")
    then = time.time() - age * 86_400 - 60
    os.utime(about, (then, then))
    monkeypatch.setattr(release, "decide", lambda *_, **__: [])
    with preparing():
        done = release.active(KEEPS, "app", OLD, "no-such.service", "true", name="Run it")
        assert done.will_change is not kept


@pytest.mark.parametrize("days", [0, -1, True, "14", None])
def test_days_that_are_none_are_refused(days: Any) -> None:
    with pytest.raises(HearthError, match="upgrade_kept_days"):
        upgrade.kept_days({"upgrade_kept_days": days})


def test_an_absent_guest_plans_no_upgrade() -> None:
    with preparing() as host:
        host.connector = Absent()
        meta = release.active(KEEPS, "app", NEW, "app.service", "true", name="Run")
        assert meta.will_change
        assert noted(host, meta._hash).says == ""

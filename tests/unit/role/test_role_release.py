"""A release is built aside and whole or not at all; real scripts, below a temporary folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ops_kit import Absent, preparing, run

from hearth.ops import release
from hearth.ops.release import Parcel, ident_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a build becomes another user: root only")
NOBODY = "nobody"  # a user that is surely there, for the one that a guest gets


@pytest.fixture
def opt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of releases; every user has to get through, so it is not below tmp_path."""
    with tempfile.TemporaryDirectory(prefix="hearth-release-") as name:
        root = Path(name)
        root.chmod(0o755)
        monkeypatch.setattr(release, "ROOT", name)
        monkeypatch.setattr(release, "BUILDER", NOBODY)
        yield root


def build(script: str, ident: str = "1", **more: Any) -> Any:
    return run(lambda: release.built("app", ident, script, name="Build", **more))


def folder(opt: Path, ident: str = "1") -> Path:
    return opt / "app" / "releases" / ident


def test_a_release_is_built_once_and_belongs_to_root(opt: Path) -> None:
    script = "id -un >who; pwd >where; mkdir d; touch d/x; chmod 4777 d/x; ln -s /etc/passwd link"
    assert build(script).did_succeed()
    there = folder(opt)
    assert (there / "who").read_text().strip() == NOBODY
    assert (there / "where").read_text().strip() == str(there), "it is built where it stays"
    for path in (there, there / "d", there / "d/x"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o7022) == (0, 0), "nobody may change it"
    assert Path("/etc/passwd").stat().st_mode & 0o777 == 0o644
    assert build("false").did_not_change()
    assert sorted(path.name for path in (opt / "app").iterdir()) == ["build.log", "releases"]


def test_a_build_has_its_parcels_and_no_environment_of_ours(
    opt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXMOX_VE_API_TOKEN", "canary")
    monkeypatch.setenv("https_proxy", "http://proxy:8888")
    script = 'cp "$SOURCES/a.tar" .; env >env; echo x >"$HOME/h"; echo x >"$TMPDIR/t"'
    assert build(script, parcels=[Parcel("a.tar", b"\x00\xff")]).did_succeed()
    assert (folder(opt) / "a.tar").read_bytes() == b"\x00\xff"
    environment = (folder(opt) / "env").read_text()
    assert "canary" not in environment
    assert "https_proxy=http://proxy:8888" in environment


def test_a_build_that_fails_leaves_nothing_and_says_why(opt: Path) -> None:
    done = build("echo started; touch half; echo 'it broke' >&2; exit 7")
    assert not done.did_succeed()
    assert "it broke" in done.stderr
    assert "7" in done.stderr
    assert list((opt / "app/releases").iterdir()) == []
    assert (opt / "app/build.log").read_text() == "started\nit broke\n"
    assert build("true").did_succeed()


def running(words: str) -> bool:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return words in done.stdout


def test_a_build_that_takes_too_long_is_killed_with_all_its_processes(opt: Path) -> None:
    began = time.monotonic()
    done = build("touch half; setsid sleep 54321 & sleep 54321", within=1)
    assert not done.did_succeed()
    assert "more than 1 seconds" in done.stderr
    assert time.monotonic() - began < 20
    assert list((opt / "app/releases").iterdir()) == []
    assert not running("sleep 54321")


def test_nothing_of_a_build_outlives_it(opt: Path) -> None:
    assert build("setsid sleep 54322 >/dev/null 2>&1 &").did_succeed()
    assert not running("sleep 54322")


def test_what_a_kill_left_counts_as_nothing(opt: Path) -> None:
    """A power cut ends the script itself: nothing cleans up."""
    folder(opt).mkdir(parents=True)
    (folder(opt) / "half").touch()
    (opt / "app/scratch.old").mkdir()
    assert build("touch whole").did_succeed()
    assert sorted(path.name for path in folder(opt).iterdir()) == [".complete", "whole"]
    assert not (opt / "app/scratch.old").exists()


def test_two_runs_build_one_after_the_other(opt: Path) -> None:
    """The second finds what the first has made, and does not disturb it."""
    script = "[ ! -e once ]; touch once; sleep 0.5"
    first = threading.Thread(target=script_of, args=(opt, script))
    first.start()
    second = script_of(opt, script)
    first.join(20)
    assert second.returncode == 0, second.stderr
    assert (folder(opt) / ".complete").exists()


def script_of(opt: Path, script: str) -> subprocess.CompletedProcess[str]:
    from hearth.ops.release_scripts import Build, building, prepare_inbox

    job = Build(f"{opt}/app", "1", script, (), NOBODY, 20)
    both = f"{prepare_inbox(job)}\n{building(job)}"
    return subprocess.run(["sh", "-c", both], capture_output=True, text=True, timeout=60, check=False)


def test_an_absent_guest_plans_a_build() -> None:
    with preparing() as host:
        host.connector = Absent()
        assert release.built("app", "1", "true", name="Build").will_change


def test_an_ident_names_all_that_the_build_depends_on() -> None:
    one = ident_of("1.2.3", "npm ci", b"lock")
    assert one.startswith("1.2.3-")
    assert one == ident_of("1.2.3", "npm ci", b"lock")
    others = {ident_of("1.2.3", "npm ci", b"other"), ident_of("1.2.3", "npm c", b"ilock"), one}
    assert len(others) == 3
    odd = ident_of("../../feature/x y", "a")
    assert "/" not in odd and " " not in odd and not odd.startswith(".")

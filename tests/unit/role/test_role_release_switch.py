"""A release that is not healthy gives its place back, with its files; only systemctl is a stand-in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ops_kit import Absent, preparing

from hearth.ops import release
from hearth.ops.facts import UnitState
from hearth.ops.release import Running, RunningRelease, decide
from hearth.ops.release_scripts import Switch, activating

SYSTEMCTL = """#!/bin/sh
case "$*" in
  *"-p ActiveState"*) echo active ;;
  *"-p MainPID"*) echo 10 ;;
  *"-p NRestarts"*) echo 0 ;;
  *status*) echo 'the log says why' ;;
  *restart*|*reload\\ *|*start\\ *)
    echo "$(basename "$(readlink {0}/app/current)") $(cat {0}/etc/conf)" >>{0}/ran ;;
esac
"""
# Healthy unless the release or its configuration is "sick", as the program was started with them.
HEALTH = "{{ echo 'it feels sick'; ! tail -n 1 {0}/ran | grep -q sick; }}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A machine with releases `one`, `two` and `sick`, and a configuration."""
    for name in ("one", "two", "sick"):
        made(tmp_path, name)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/conf").write_text("well")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(tmp_path))
    (tmp_path / "bin/sleep").write_text("#!/bin/sh\n/bin/sleep 0.02\n")
    for name in ("systemctl", "sleep"):
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def made(place: Path, ident: str, app: str = "app", uses: str = "") -> Path:
    folder = place / app / "releases" / ident
    folder.mkdir(parents=True)
    (folder / ".complete").write_text(f"{uses}\n")
    return folder


def switch(place: Path, ident: str, *steps: str) -> subprocess.CompletedProcess[str]:
    job = Switch(f"{place}/app", ident, "app.service", HEALTH.format(place), (f"{place}/etc/conf",), (), 2)
    return subprocess.run(
        ["sh", "-c", activating(job, steps or ("daemon-reload", "restart"))],
        env={"PATH": f"{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def now(place: Path) -> Running:
    """What the fact says."""
    command = RunningRelease().command("app").replace(f"{release.ROOT}/app", f"{place}/app")
    out = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    return RunningRelease().process(out.splitlines())


def ran(place: Path) -> list[str]:
    return (place / "ran").read_text().splitlines()


def test_a_healthy_release_takes_the_place(place: Path) -> None:
    for ident in ("one", "two"):
        done = switch(place, ident)
        assert (done.returncode, done.stderr) == (0, "")
        assert now(place) == Running(ident, ident)
    assert ran(place) == ["one well", "two well"]


def test_a_sick_release_gives_its_place_back_and_says_why(place: Path) -> None:
    switch(place, "one")
    done = switch(place, "sick")
    assert done.returncode != 0
    for word in ("it feels sick", "the log says why", "went back to one", "it is healthy"):
        assert word in done.stderr
    assert now(place) == Running("one", "one")
    assert ran(place) == ["one well", "sick well", "one well"]


def test_a_release_goes_back_with_the_files_that_it_had(place: Path) -> None:
    conf = place / "etc/conf"
    conf.chmod(0o640)
    switch(place, "one")
    conf.write_text("well, for two")
    switch(place, "sick")
    assert ran(place)[-1] == "one well"
    assert (conf.read_text(), conf.stat().st_mode & 0o777) == ("well", 0o640)
    kept = place / "app/proven.d"
    assert kept.stat().st_mode & 0o777 == 0o700, "they may be secret"


@pytest.mark.parametrize("step", ["restart", "reload"])
def test_files_that_make_it_sick_are_given_back_without_a_new_release(place: Path, step: str) -> None:
    switch(place, "one")
    (place / "etc/conf").write_text("sick")
    assert switch(place, "one", step).returncode != 0
    assert (place / "etc/conf").read_text() == "well"
    assert ran(place) == ["one well", "one sick", "one well"]


def test_the_first_release_has_nothing_to_go_back_to(place: Path) -> None:
    done = switch(place, "sick")
    assert done.returncode != 0
    assert "no earlier release" in done.stderr
    assert now(place) == Running("sick", "", unfinished=True)


def test_what_worked_before_and_is_sick_now_is_not_restarted_again(place: Path) -> None:
    switch(place, "one")
    (place / "bin/systemctl").write_text(SYSTEMCTL.format(place).replace("$(cat", "sick $(cat"))
    done = switch(place, "one")
    assert "nothing to go back to" in done.stderr
    assert len(ran(place)) == 2


def test_where_the_way_back_fails_too_it_says_so_and_the_next_run_tries_again(place: Path) -> None:
    switch(place, "one")
    (place / "bin/systemctl").write_text(SYSTEMCTL.format(place).replace("$(cat", "sick $(cat"))
    done = switch(place, "two")
    assert done.returncode != 0
    assert "not healthy either" in done.stderr
    assert now(place) == Running("one", "one", unfinished=True)


def test_a_release_that_is_not_complete_is_not_run(place: Path) -> None:
    switch(place, "one")
    (place / "app/releases/half").mkdir()
    assert switch(place, "half").returncode != 0
    assert now(place) == Running("one", "one")
    assert ran(place) == ["one well"]


def test_two_old_releases_are_kept_and_what_they_need(place: Path) -> None:
    node, unused = made(place, "24", "node"), made(place, "22", "node")
    (place / "app/releases/one/.complete").write_text(f"{node}\n")
    for marker in (node / ".complete", unused / ".complete", place / "app/releases/sick/.complete"):
        os.utime(marker, (1, 1))
    for ident in ("two", "one", "three"):
        (place / f"app/releases/{ident}").is_dir() or made(place, ident)
        assert switch(place, ident).returncode == 0
    left = sorted(path.name for path in (place / "app/releases").iterdir())
    assert left == ["one", "three", "two"]
    assert node.exists(), "a release that is kept runs on it"
    assert not unused.exists()


UP = UnitState(loaded=True, active=True, enabled=True)
WHOLE = ["daemon-reload", "restart"]


@pytest.mark.parametrize(
    ("unit", "running", "planned", "steps"),
    [
        (UP, Running("1", "1"), set(), []),
        (UP, Running("1", "1"), {"/conf"}, WHOLE),
        (UP, Running("1", "1"), {"/rules"}, ["reload"]),
        (UP, Running("0", "0"), set(), WHOLE),
        (UP, Running("1", "0"), set(), WHOLE),  # switched, and never proven
        (UP, Running("1", "1", unfinished=True), set(), WHOLE),
        (UnitState(), Running(), {"/conf"}, ["daemon-reload", "enable", "restart"]),  # an absent guest
        (UnitState(loaded=True, enabled=True), Running("1", "1"), set(), ["daemon-reload", "start"]),
    ],
)
def test_a_switch_is_a_restart_and_what_was_cut_off_is_done_again(
    unit: UnitState, running: Running, planned: set[str], steps: list[str]
) -> None:
    assert decide(unit, running, "1", {"/conf"}, {"/rules"}, planned=planned) == steps


def test_an_absent_guest_plans_the_switch() -> None:
    with preparing() as host:
        host.connector = Absent()
        assert release.active("app", "1", "app.service", "true", name="Run").will_change


def test_the_first_look_at_a_machine_without_the_program(place: Path) -> None:
    out = subprocess.run(
        ["sh", "-c", RunningRelease().command("no-such-app")], capture_output=True, text=True, check=True
    )
    assert RunningRelease().process(out.stdout.splitlines()) == Running()


@pytest.mark.parametrize(("path", "well"), [("/", True), ("/no-such-file", False)])
def test_health_over_http_is_an_answer_of_success(tmp_path: Path, path: str, well: bool) -> None:
    from http.server import HTTPServer, SimpleHTTPRequestHandler
    from threading import Thread

    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        check = release.http_health(server.server_port, path)
        done = subprocess.run(["sh", "-c", check], capture_output=True, cwd=tmp_path, check=False)
        server.shutdown()
    assert (done.returncode == 0) is well

"""A release that is not healthy gives its place back, with its files; only systemctl is a stand-in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ops_kit import Absent, preparing
from switch_kit import SYSTEMCTL, Machine, machine

from hearth.ops import release
from hearth.ops.facts import UnitState
from hearth.ops.release import Running, RunningRelease, decide
from hearth.role.declaration import Role


@pytest.fixture
def place(tmp_path: Path) -> Machine:
    """A machine with releases `one`, `two` and `sick`, and a configuration."""
    return machine(tmp_path)


def made_sick(place: Machine) -> None:
    """From now on nothing is healthy."""
    place.program(
        "systemctl", SYSTEMCTL.format(place.root).replace(f" $(cat {place.root}/etc/conf)", " sick")
    )


def test_a_healthy_release_takes_the_place(place: Machine) -> None:
    for ident in ("one", "two"):
        done = place.switch(ident)
        assert (done.returncode, done.stderr) == (0, "")
        assert place.now == Running(ident, ident)
    assert place.ran == ["one well", "two well"]


def test_a_sick_release_gives_its_place_back_and_says_why(place: Machine) -> None:
    place.switch("one")
    done = place.switch("sick")
    assert done.returncode != 0
    for word in ("it feels sick", "the log says why", "went back to one", "it is healthy"):
        assert word in done.stderr
    assert place.now.is_at("one")
    assert place.ran == ["one well", "sick well", "one well"]


def test_a_release_goes_back_with_the_files_that_it_had(place: Machine) -> None:
    conf = place.conf
    conf.chmod(0o640)
    place.switch("one")
    conf.write_text("well, for two")
    place.switch("sick")
    assert place.ran[-1] == "one well"
    assert (conf.read_text(), conf.stat().st_mode & 0o777) == ("well", 0o640)
    kept = place.root / "app/proven.d"
    assert kept.stat().st_mode & 0o777 == 0o700, "they may be secret"


@pytest.mark.parametrize("step", ["restart", "reload"])
def test_files_that_make_it_sick_are_given_back_without_a_new_release(place: Machine, step: str) -> None:
    place.switch("one")
    place.conf.write_text("sick")
    assert place.switch("one", step).returncode != 0
    assert place.conf.read_text() == "well"
    assert place.ran == ["one well", "one sick", "one well"]


def test_the_first_release_has_nothing_to_go_back_to(place: Machine) -> None:
    done = place.switch("sick")
    assert done.returncode != 0
    assert "no earlier release" in done.stderr
    assert (place.now.current, place.now.proven, place.now.unfinished) == ("sick", "", True)


def test_what_worked_before_and_is_sick_now_is_not_restarted_again(place: Machine) -> None:
    place.switch("one")
    made_sick(place)
    done = place.switch("one")
    assert "nothing to go back to" in done.stderr
    assert len(place.ran) == 2


def test_where_the_way_back_fails_too_it_says_so_and_the_next_run_tries_again(place: Machine) -> None:
    place.switch("one")
    made_sick(place)
    done = place.switch("two")
    assert done.returncode != 0
    assert "not healthy either" in done.stderr
    assert (place.now.current, place.now.proven, place.now.unfinished) == ("one", "one", True)


def test_a_release_that_is_not_complete_is_not_run(place: Machine) -> None:
    place.switch("one")
    (place.root / "app/releases/half").mkdir()
    assert place.switch("half").returncode != 0
    assert place.now == Running("one", "one")
    assert place.ran == ["one well"]


def test_two_old_releases_are_kept_and_what_they_need(place: Machine) -> None:
    node, unused = place.made("24", "node"), place.made("22", "node")
    (place.root / "app/releases/one/.complete").write_text(f"{node}\n")
    for marker in (node / ".complete", unused / ".complete", place.root / "app/releases/sick/.complete"):
        os.utime(marker, (1, 1))
    for ident in ("two", "one", "three"):
        (place.root / f"app/releases/{ident}").is_dir() or place.made(ident)
        assert place.switch(ident).returncode == 0
    left = sorted(path.name for path in (place.root / "app/releases").iterdir())
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
        assert release.active(Role(), "app", "1", "app.service", "true", name="Run").will_change


def test_the_first_look_at_a_machine_without_the_program(place: Machine) -> None:
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

"""The guests' own walls, alone: no other wall stands in the twin here. And their way back, in real time."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.knocking import Knock
from tests.twin.handle import TwinHandle, until
from tests.twin.wall_home_kit import GUESTS, LIST, OUTSIDERS, RULES, STRANGER, Walled, make, wrong

pytestmark = pytest.mark.long
KEPT = "/var/lib/hearth/wall"
TEMPLATE = "templates/wall/nftables.conf.j2"
LOOPBACK = '\t\tiif "lo" accept\n'
NOBODY_NEW = "\t\ttcp dport 22 ct state new drop\n"
NOBODY = "\t\ttcp dport 22 drop\n"


@pytest.fixture(scope="module")
def walled(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walled]:
    """The home, deployed; the twin's own machine has the addresses of everybody who is no guest."""
    found = make(twin, tmp_path_factory.mktemp("walled"))
    try:
        found.home.deploy(patience=900).went_well()
        with found.outsiders():
            yield found
    finally:
        for guest in found.home.fleet.guests:
            twin.remove("lxc", guest.vmid)


@pytest.fixture(scope="module")
def served(walled: Walled) -> Iterator[Walled]:
    """Something answers on every port, where no service does."""
    with walled.served():
        yield walled


@pytest.mark.parametrize("guest", GUESTS)
def test_exactly_the_flows_answer_from_outside_and_from_every_guest(served: Walled, guest: str) -> None:
    met = served.knock(served.knocks((*OUTSIDERS, *map(str, served.own)), guest))
    for other in GUESTS:
        if other != guest:
            met |= served.knock(served.knocks(served.addresses(other), guest), other)
    assert wrong(met) == {}
    assert {one.answer for one in met} == {True, False}


def test_without_its_wall_a_guest_would_answer(served: Walled) -> None:
    """So the matrix sees walls and nothing else."""
    home = served.home
    home.said("desk", "systemctl stop hearth-wall.service")
    try:
        met = served.knock(served.knocks(STRANGER, "desk"))
        assert set(met.values()) == {"open"}
    finally:
        home.said("desk", "systemctl start hearth-wall.service")
    assert wrong(served.knock(served.knocks(STRANGER, "desk"))) == {}


def test_a_second_run_is_silent(walled: Walled) -> None:
    walled.home.deploy().silent()


@pytest.mark.parametrize(
    "hand",
    [
        "nft insert rule inet hearth input accept",
        "nft flush ruleset",
        "nft add element inet hearth management_4 '{ 203.0.113.9 }'",
    ],
)
def test_what_a_hand_changed_is_planned_and_mended(walled: Walled, hand: str) -> None:
    home = walled.home
    before = home.said("desk", LIST)
    home.said("desk", hand)
    said = home.deploy("--limit", "desk").went_well()
    assert "--> 0 changes made" not in said.text
    assert home.said("desk", LIST) == before
    home.deploy("--limit", "desk").silent()


def test_debians_own_unit_does_not_take_it_away(walled: Walled) -> None:
    home = walled.home
    before = home.said("desk", LIST)
    home.said("desk", "nft add table ip somebodys")
    try:
        for verb in ("start", "reload", "restart", "stop"):
            home.said("desk", f"systemctl {verb} nftables.service")
            assert home.said("desk", LIST) == before, verb
            assert home.ends("desk", "nft list table ip somebodys") != 0, "it did flush"
            home.said("desk", "nft add table ip somebodys")
    finally:
        home.said("desk", "systemctl restart hearth-wall.service && nft delete table ip somebodys")
    home.deploy("--limit", "desk").silent()


def test_a_restart_keeps_the_wall(walled: Walled) -> None:
    home = walled.home
    before = home.said("desk", LIST)
    home.task("POST", "desk", "/status/reboot")
    assert home.said("desk", LIST) == before
    assert home.ends("desk", "systemctl is-active hearth-wall.service") == 0
    assert (
        walled.knock([Knock(STRANGER[0], walled.addresses("desk")[0], "tcp", 22, False)]).popitem()[1]
        == "silent"
    )
    home.deploy().silent()


def test_it_verifies(walled: Walled) -> None:
    walled.home.verify("-k", "test_wall or test_base").went_well()


@contextlib.contextmanager
def spoiled(walled: Walled, line: str) -> Iterator[None]:
    """The project with rules that lock us out; mended afterwards."""
    template = walled.home.project / TEMPLATE
    good = template.read_text()
    template.write_text(good.replace(LOOPBACK, LOOPBACK + line))
    assert line in template.read_text()
    try:
        yield
    finally:
        template.write_text(good)


def state(walled: Walled) -> tuple[str, str]:
    """The table and the file, over a new connection; nothing may be left that is unproven."""
    home = walled.home
    until(lambda: home.ends("desk", f"[ -e {KEPT} ]") or None)
    assert home.ends("desk", "systemctl -q is-active hearth-wall-rollback.timer") != 0
    return home.said("desk", LIST), home.said("desk", f"cat {RULES}")


@pytest.mark.parametrize(
    ("line", "after", "words"),
    [
        (NOBODY_NEW, "60", "a new SSH login failed: the old rules of the wall come back"),
        (NOBODY_NEW, "10", "the old rules of the wall are back"),
        (NOBODY, "10", "the old rules of the wall are back"),  # the run's own connection is cut as well
        ("\t\ttcp dport 99999 accept\n", "60", f"{RULES} was refused"),
    ],
    ids=["proof", "timer", "cut", "refused"],
)
def test_rules_that_lock_us_out_come_back_and_the_run_says_so(
    walled: Walled, line: str, after: str, words: str
) -> None:
    before = state(walled)
    with spoiled(walled, line):
        walled.home.deploy("--limit", "desk", "--data", f"wall_rollback_after={after}").refused(words)
        assert state(walled) == before
    walled.home.deploy("--limit", "desk").silent()


def start_and_kill(walled: Walled, after: int) -> None:
    """A run that is ended with SIGKILL as soon as its rules lock us out."""
    home = walled.home
    loaded = "nft list table inet hearth | grep -q 'dport 22 ct state new drop'"
    script = f"until {loaded}; do sleep 0.05; done; echo on"
    with subprocess.Popen(home.ssh("desk", script), stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        run = home.start(
            *("pyinfra", "inventory", "deploy.py", "-y", "--limit", "desk"),
            *("--data", f"wall_rollback_after={after}"),
        )
        try:
            assert session.stdout.readline() == "on\n"
        finally:
            run.kill()
            run.communicate()


def locked_out(walled: Walled) -> bool:
    """Whether a new connection to SSH is not answered."""
    own = str(walled.own[0])
    return walled.knock([Knock(own, walled.addresses("desk")[0], "tcp", 22, False)]).popitem()[1] == "silent"


def test_the_guest_takes_them_back_itself_where_the_run_is_killed(walled: Walled) -> None:
    before = state(walled)
    with spoiled(walled, NOBODY_NEW):
        start_and_kill(walled, 15)
        assert locked_out(walled)
        assert state(walled) == before
    walled.home.deploy("--limit", "desk").silent()


def test_a_guest_that_restarts_meanwhile_comes_up_with_the_old_rules(walled: Walled) -> None:
    before = state(walled)
    with spoiled(walled, NOBODY_NEW):
        start_and_kill(walled, 3600)
        assert locked_out(walled)
        walled.home.task("POST", "desk", "/status/reboot")
        assert state(walled) == before
        assert walled.home.ends("desk", "systemctl is-failed hearth-rollback.service") != 0
    walled.home.deploy("--limit", "desk").silent()


def test_switched_off_it_is_taken_away_and_nothing_else(walled: Walled) -> None:
    home = walled.home
    home.said("desk", "nft add table ip somebodys")
    values: Path = home.project / "group_data/wall.py"
    text = values.read_text()
    values.write_text(text.replace("wall_enabled = True", "wall_enabled = False"))
    try:
        home.deploy("--limit", "desk").went_well()
        home.deploy("--limit", "desk").silent()
        tables = json.loads(home.said("desk", "nft -j list tables"))["nftables"][1:]
        names = [row["table"]["name"] for row in tables]
        assert "somebodys" in names
        assert "hearth" not in names
        for left in (
            f"[ -e {RULES} ]",
            "systemctl cat hearth-wall",
            f"systemctl cat nftables | grep {RULES}",
        ):
            assert home.ends("desk", left) != 0, left
        home.verify("-k", "test_wall and desk").went_well()
    finally:
        values.write_text(text)
    home.deploy("--limit", "desk").went_well()
    assert "policy drop" in home.said("desk", LIST)

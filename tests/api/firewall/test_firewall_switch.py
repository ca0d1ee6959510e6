"""The dead-man switch: whoever is cut off gets in again, the old rules come back, and the run says so.

By a virtual clock: a minute is over as soon as somebody sleeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from firewall_home import HERE, FirewallHome

from hearth.errors import HearthError
from hearth.proxmox.api import LostAnswerError
from hearth.proxmox.faults import ApiError
from hearth.role.declaration import Port, Role
from twin.pve import faults

ELSEWHERE = "192.168.1.77"
OPTIONS = "/cluster/firewall/options"


def forget_us(home: FirewallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A management set without this machine."""
    monkeypatch.setattr("hearth.walls.addresses_towards", lambda fleet: [])
    home.values["firewall_management"] = [ELSEWHERE]


def drop_ssh(home: FirewallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSH of the guests for nobody; the API goes on."""
    home.roles = {**home.roles, "base": Role(name="base", provides=(Port("ssh", 22, audience="host"),))}


Harm = Callable[[FirewallHome, pytest.MonkeyPatch], None]
CUTS = [pytest.param(forget_us, id="management without us"), pytest.param(drop_ssh, id="SSH dropped")]


def fails(home: FirewallHome, *words: str) -> str:
    with pytest.raises(HearthError) as caught:
        home.deploy()
    text = str(caught.value)
    for word in words:
        assert word in text, text
    return text


@pytest.mark.parametrize("harm", CUTS)
class TestCutOff:
    """A rule set that would keep us out, on a home that has none and on one that has."""

    def test_the_first_time(self, home: FirewallHome, harm: Harm, monkeypatch: pytest.MonkeyPatch) -> None:
        before = home.content()
        harm(home, monkeypatch)
        fails(home, "did not answer any more", "the old rules are back", "off, as it was")
        assert home.enable == 0, "open, as it was"
        assert home.content() == before
        assert not list(home.place.iterdir()), "and nothing is left to finish"

    def test_later(self, home: FirewallHome, harm: Harm, monkeypatch: pytest.MonkeyPatch) -> None:
        home.settle()
        before = home.content()
        harm(home, monkeypatch)
        fails(home, "did not answer any more", "the old rules are back and the firewall is on")
        assert home.enable == 1
        assert home.content() == before
        assert home.lets_in(HERE, 8006) and home.lets_in(HERE, 22, "comms")
        assert not list(home.place.iterdir())

    def test_ten_times_over(self, home: FirewallHome, harm: Harm, monkeypatch: pytest.MonkeyPatch) -> None:
        home.settle()
        before = home.content()
        harm(home, monkeypatch)
        for _ in range(10):
            fails(home, "the old rules are back")
            assert (home.enable, home.content()) == (1, before)


def test_it_is_off_within_75_seconds_and_only_that_long_do_we_wait(
    home: FirewallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.settle()
    forget_us(home, monkeypatch)
    began = home.pve.now()
    fails(home, "the old rules are back")
    assert 55 < home.pve.now() - began < 90


def test_a_good_change_is_confirmed_only_after_the_probe(
    home: FirewallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def watch(method: str, path: str, params: Mapping[str, Any]) -> None:
        if method == "PUT" and path == OPTIONS and "enable" in params:
            seen.append(("enable", params["enable"]))

    home.before_request = watch

    def probe(targets: Any) -> frozenset[str]:
        seen.append(("probe", home.enable))
        return home.answering(targets)

    monkeypatch.setattr("hearth.proxmox.firewall.probe.answering", probe)
    home.deploy()
    armed = [value for kind, value in seen if kind == "enable"]
    assert armed == [2, 1], "the first time all is written while it is off"
    assert seen[0] == ("probe", 0)
    assert seen[2][0] == "probe"
    assert seen[2][1] > 1
    seen.clear()
    home.values["firewall_iot"] = ["192.168.1.50"]
    home.deploy()
    assert [value for kind, value in seen if kind == "enable"] == [2, 2, 1], "later: around the writes"
    assert home.enable == 1


def test_what_was_silent_before_need_not_answer_afterwards(home: FirewallHome) -> None:
    home.server.call(lambda: setattr(home.pve.guest(138), "status", "stopped"))
    home.deploy()
    assert home.enable == 1


def test_probes_that_take_too_long_prove_nothing(home: FirewallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    before = home.content()
    forget_us(home, monkeypatch)
    ask = home.answering

    def slow(targets: Any) -> frozenset[str]:
        home.pve.clock_ahead += 61  # the switch has run out: all is open again
        return ask(targets)

    monkeypatch.setattr("hearth.proxmox.firewall.probe.answering", slow)
    fails(home, "took longer")
    assert (home.enable, home.content()) == (0, before)


# ------------------------------------------------------------------------ kills


class Killed(BaseException):
    """SIGKILL, as far as the run can tell: no handler of its own runs."""


def kill_at(home: FirewallHome, number: int, after: bool) -> Callable[[], int]:
    """Kill the run at its n-th write, before it arrives or once it has had its effect; gives the count."""
    count = 0

    def watch(method: str, path: str, params: Mapping[str, Any]) -> None:
        nonlocal count
        if method == "GET":
            return
        count += 1
        if count == number + after:
            raise Killed

    home.before_request = watch
    return lambda: count


def killed() -> None:
    raise Killed


def life(home: FirewallHome) -> None:
    home.values["firewall_iot"] = ["192.168.1.50"]
    home.values["firewall_outside"] = ["192.168.1.41"]


def writes_of(home: FirewallHome) -> int:
    count = kill_at(home, 10**6, after=False)
    home.deploy()
    return count()


@pytest.mark.parametrize("points", [2, pytest.param(200, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize("waits", [0, 200], ids=["at once", "after the switch ran out"])
@pytest.mark.parametrize("first", [True, False], ids=["the first time", "later"])
def test_a_kill_at_any_write_is_completed_by_the_next_run(
    home: FirewallHome, first: bool, waits: float, points: int, fresh_home: Callable[[], FirewallHome]
) -> None:
    if not first:
        home.settle()
        life(home)
    total = writes_of(home)
    done = home.content()
    assert total > 10
    for number in sorted({*range(2, total, max(1, total // points)), total}):
        other = fresh_home()
        if not first:
            other.settle()
            life(other)
        kill_at(other, number, after=False)
        with pytest.raises(Killed):
            other.deploy()
        other.before_request = lambda method, path, params: None
        assert not other.cut_off
        other.pve.clock_ahead += waits
        other.deploy()
        assert (other.enable, other.content()) == (1, done), f"killed at write {number} of {total}"
        assert other.deploy() == []


def test_a_kill_while_cut_off_ends_open_and_the_next_run_puts_the_old_rules_back(
    home: FirewallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.settle()
    before = home.content()
    forget_us(home, monkeypatch)

    home.when_cut_off = killed
    with pytest.raises(Killed):
        home.deploy()
    home.when_cut_off = lambda: None
    assert home.cut_off
    with pytest.raises(HearthError):
        home.run().survey.api("pve").get("/version")
    home.pve.clock_ahead += 61
    assert not home.cut_off, "the switch ran out"
    run = home.run()
    assert any("the dead-man switch ran out" in line for line in run.walls.plan("pve").lines())
    fails(home, "the old rules are back and the firewall is on")  # the same rules are no better now
    assert (home.enable, home.content()) == (1, before)


def test_drift_says_that_the_switch_ran_out(home: FirewallHome) -> None:
    home.settle()
    home.values["firewall_iot"] = ["192.168.1.50"]
    kill_at(home, 4, after=False)
    with pytest.raises(Killed):
        home.deploy()
    home.before_request = lambda method, path, params: None
    assert "being proven" in home.run().walls.plan("pve").state
    home.pve.clock_ahead += 61
    plan = home.run().walls.plan("pve")
    assert plan.state == "off: the dead-man switch ran out before new rules were proven"
    assert plan.does_something
    assert plan.to_json()["state"] == plan.state


def test_off_by_hand_is_drift_too(home: FirewallHome) -> None:
    home.settle()
    home.run().survey.api("pve").put(OPTIONS, enable=0)
    assert home.run().walls.plan("pve").state == "off"
    home.deploy()
    assert home.enable == 1


# --------------------------------------------------------------------- refusals

REFUSED = [
    pytest.param(403, "Permission check failed (/, Sys.Modify)", id="403"),
    pytest.param(500, "unable to open file - Input/output error", id="500", marks=pytest.mark.slow),
    pytest.param(500, "can't lock file '/var/lock/pve-manager/fw' - got timeout", id="a lock"),
]


@pytest.mark.parametrize(("status", "reason"), REFUSED)
@pytest.mark.parametrize("path", ["/ipset", "/groups", "/rules", "/options"])
@pytest.mark.parametrize("first", [True, False], ids=["the first time", "later"])
def test_a_refused_write_ends_as_it_was(
    home: FirewallHome, status: int, reason: str, path: str, first: bool
) -> None:
    if not first:
        home.settle()
        life(home)
    enable, before = home.enable, home.content()
    seen = 0
    until = float("inf")

    def refuse(method: str, asked: str, params: Mapping[str, Any]) -> None:
        nonlocal seen, until
        if method != "GET" and path in asked and not (asked == OPTIONS and "enable" in params):
            seen += 1
            if seen == 2:
                until = home.pve.now() + (
                    130 if "lock" in reason else 0.001
                )  # longer than locks are waited for
            if seen >= 2 and home.pve.now() < until:
                raise ApiError(f"{method} {asked}", reason, "", status)

    home.before_request = refuse
    if not first:
        home.values["firewall_log_level"] = "info"  # so that there are options to write
    fails(home, reason[:20])
    assert seen >= 2
    assert home.enable == enable
    assert home.content() == before
    assert not home.cut_off


def test_the_switch_itself_refused_changes_nothing(home: FirewallHome) -> None:
    home.settle()
    life(home)
    before = home.content()
    home.server.call(
        lambda: faults.apply(home.pve, "http", method="PUT", path=OPTIONS, status=403, message="no")
    )
    fails(home, "no", "nothing was changed")
    assert not list(home.place.iterdir())
    home.server.call(lambda: faults.clear(home.pve))
    assert (home.enable, home.content()) == (1, before)


def test_lost_answers_are_read_back(home: FirewallHome) -> None:
    lost = {3, 9, 17}
    count = 0

    def lose(method: str, path: str, params: Mapping[str, Any]) -> None:
        nonlocal count
        if method == "POST":
            count += 1
            if count in lost:
                api = home.run().survey.api("pve")
                api.post(path, **params)  # it arrives; its answer does not
                raise LostAnswerError(f"POST {path}", "the connection broke", "")

    inside = False

    def once(method: str, path: str, params: Mapping[str, Any]) -> None:
        nonlocal inside
        if not inside:
            inside = True
            try:
                lose(method, path, params)
            finally:
                inside = False

    home.before_request = once
    home.deploy()
    home.before_request = lambda method, path, params: None
    assert count > max(lost)
    assert home.deploy() == []
    rules = home.of_guest("comms")["rules"]
    assert len(rules) == len({tuple(sorted(rule.items())) for rule in rules}), "none is there twice"

"""Drift of the wall, its way back and its removal: the operation's own commands, with real nftables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ops_kit import Absent, preparing
from role_kit import group_data
from wall_kit import DATA, FLEET, TwoSides, a_run, rules

from hearth.ops import nft, proven
from hearth.ops.files import File
from hearth.role.here import Here
from tests.knocking import Knock

TABLE = "list table inet hearth"
ADDRESS, US = "192.168.1.150", "192.168.1.77"
ARMED = re.compile(
    r"systemd-run .*--unit=(?P<unit>\S+) --on-active=(?P<after>\d+) .*?(?P<command>/bin/sh .+)"
)
CHAIN = re.compile(r"chain input \{\n.*?policy drop;?[^\n]*\n", re.DOTALL)
EMPTY = "table inet hearth\ndelete table inet hearth\ntable inet hearth {{ chain input {{ {} }}; }}\n"
HOOK = "type filter hook input priority filter; policy {};"


def first(rule: str) -> Callable[[str], str]:
    """The good rules with another one before all others."""
    return lambda good: CHAIN.sub(lambda found: f"{found[0]}\t\t{rule}\n", good, count=1)


#: Rules that shut us out, made from the good ones.
CUTS: dict[str, Callable[[str], str]] = {
    "management without us": lambda _: rules("bare", firewall_management=["192.168.1.10"]).text,
    "ssh dropped": first("tcp dport 22 drop"),
    "ssh refused": first("tcp dport 22 reject with tcp reset"),
    "new ssh dropped": first("tcp dport 22 ct state new drop"),
    "our address dropped": first(f"ip saddr {US} drop"),
    "all of IPv4 dropped": first("meta nfproto ipv4 drop"),
    "everything dropped": first("drop"),
    "nothing but the policy": lambda _: EMPTY.format(HOOK.format("drop")),
    "an earlier hook": lambda _: EMPTY.format("type filter hook prerouting priority raw; policy drop;"),
    "answers dropped": lambda _: EMPTY.format("type filter hook output priority filter; policy drop;"),
}


class Guest:
    """A guest's network, folders below a temporary one, and a systemd that writes down what it is asked."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place / "etc/wall.nft"
        self.sides = TwoSides([ADDRESS], [US])
        self.now = 0
        (place / "bin").mkdir()
        (place / "run").mkdir()
        for name in ("systemctl", "systemd-run"):
            self.program(name, "")

    def program(self, name: str, then: str) -> None:
        """A program that writes down what it is asked."""
        (self.place / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {self.place}/calls\n{then}\n')
        (self.place / "bin" / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.place / "calls").read_text().splitlines()

    def passes(self, seconds: int) -> None:
        """Time passes for the timers of systemd: what is due happens, unless it was called off."""
        self.now += seconds
        for number, call in enumerate(self.calls):
            if (timer := ARMED.fullmatch(call)) and self.now >= int(timer["after"]):
                stopped = f"systemctl stop {timer['unit']}.timer"
                if stopped not in self.calls[number:]:
                    assert self.sh(timer["command"]) == 0

    def lets_us_in(self) -> bool:
        """Whether a new connection to SSH is answered; waits for it."""
        return self.sides.knock([Knock(US, ADDRESS, "tcp", 22, True)]).popitem()[1] == "open"

    def shuts_us_out(self) -> bool:
        """Whether a new connection to SSH is not answered."""
        return self.sides.knock([Knock(US, ADDRESS, "tcp", 22, False)]).popitem()[1] != "open"

    def risky(self, text: str = "") -> proven.Risky:
        return nft.risky(File(str(self.file), text or rules("bare").text, mode="600"))

    def sh(self, script: str) -> int:
        path = f"{self.place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = self.sides.run("env", f"PATH={path}", "sh", "-c", script)
        assert "not found" not in done.stderr
        return done.returncode

    def tries(self, text: str = "") -> int:
        risky = self.risky(text)
        Path(risky.candidate).write_text(risky.file.text)
        return self.sh(proven.trying(risky, 60))

    def holds(self) -> bool:
        risky = self.risky()
        return self.sh(risky.filled(risky.holds)) == 0

    def undo(self) -> None:
        assert self.sh(f"sh {self.risky().kept}/undo") == 0

    def table(self) -> str:
        return self.sides.run("nft", "-s", *TABLE.split()).stdout


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    monkeypatch.setattr(proven, "PLACE", str(tmp_path / "kept"))
    monkeypatch.setattr(proven, "STAGE", str(tmp_path / "run"))
    monkeypatch.setattr(proven, "BOOT", str(tmp_path / "units/rollback.service"))
    monkeypatch.setattr("hearth.path.addresses_towards", lambda fleet: ())
    found = Guest(tmp_path)
    yield found
    found.sides.close()


def test_a_wall_that_was_raised_holds(guest: Guest) -> None:
    assert guest.tries() == 0
    assert guest.holds()
    assert "chain input" in guest.table()


@pytest.mark.parametrize(
    "hand",
    [
        "flush ruleset",
        "delete table inet hearth",
        "flush table inet hearth",
        "flush chain inet hearth input",
        "add rule inet hearth input tcp dport 23 accept",
        "insert rule inet hearth input accept",
        "add element inet hearth management_4 { 203.0.113.9 }",
        "flush set inet hearth management_4",
        "add chain inet hearth input { policy accept; }",
        "add chain inet hearth more { type filter hook input priority -10; }",
    ],
)
def test_what_a_hand_changes_is_seen_and_mended(guest: Guest, hand: str) -> None:
    guest.tries()
    whole = guest.table()
    assert guest.sides.run("nft", hand).returncode == 0
    assert not guest.holds()
    assert guest.tries() == 0
    assert guest.holds()
    assert guest.table() == whole


def test_what_is_beside_our_table_is_no_drift(guest: Guest) -> None:
    guest.tries()
    guest.sides.run("nft", "add table ip podman")
    assert guest.holds()


def test_without_the_file_or_where_nothing_can_be_compared_it_does_not_hold(guest: Guest) -> None:
    guest.tries()
    guest.file.write_text("table inet hearth { what }")
    assert not guest.holds()
    guest.sides.run("nft", "flush", "ruleset")
    assert not guest.holds()
    guest.file.unlink()
    assert not guest.holds()


def test_the_first_wall_goes_back_to_none(guest: Guest) -> None:
    assert guest.tries() == 0
    guest.undo()
    assert not guest.file.exists()
    assert guest.sides.listed() == ""


@pytest.mark.parametrize("hand", ["", "insert rule inet hearth input accept", "delete table inet hearth"])
def test_what_let_us_in_comes_back_also_where_a_hand_made_it(guest: Guest, hand: str) -> None:
    guest.tries()
    assert guest.sh(proven.keeping(guest.risky())) == 0
    if hand:
        guest.sides.run("nft", hand)
    before, file = guest.table(), guest.file.read_text()
    assert (
        guest.tries("table inet hearth\ndelete table inet hearth\ntable inet hearth { chain other { }; }")
        == 0
    )
    assert "other" in guest.table()
    guest.undo()
    assert (guest.table(), guest.file.read_text()) == (before, file)


def test_what_nft_refuses_is_never_loaded_and_the_old_wall_stays(guest: Guest) -> None:
    guest.tries()
    guest.sh(proven.keeping(guest.risky()))
    before = guest.table()
    guest.program("nft", 'exec /usr/sbin/nft "$@"')
    assert guest.tries("table inet hearth { chain input { tcp dport 99999 accept; }; }") != 0
    assert f"nft -c -f {guest.file}" in guest.calls
    assert f"nft -f {guest.file}" not in guest.calls
    assert guest.table() == before
    assert guest.holds()


@pytest.mark.parametrize("cut", CUTS)
def test_rules_that_shut_us_out_end_with_the_old_ones_when_the_time_is_over(guest: Guest, cut: str) -> None:
    """Ten times by a virtual clock; in real time: tests/twin/test_home_wall.py."""
    guest.sides.serve([("tcp", 22)])
    good = rules("bare", firewall_management=[US]).text
    assert guest.tries(good) == 0
    assert guest.sh(proven.keeping(guest.risky())) == 0
    before = guest.table(), guest.file.read_text()
    assert guest.lets_us_in()
    bad = CUTS[cut](good)
    assert bad != good
    assert guest.tries(bad) == 0
    guest.passes(59)
    assert guest.shuts_us_out()
    guest.passes(1)
    assert guest.lets_us_in()
    assert (guest.table(), guest.file.read_text()) == before
    assert not Path(guest.risky().kept).exists()


def test_rules_that_were_proven_stay_when_the_time_is_over(guest: Guest) -> None:
    guest.sides.serve([("tcp", 22)])
    assert guest.tries(rules("bare", firewall_management=[US]).text) == 0
    assert guest.sh(proven.keeping(guest.risky())) == 0
    before = guest.table()
    guest.passes(61)
    assert guest.lets_us_in()
    assert guest.table() == before


def test_where_even_the_way_back_fails_it_ends_open(guest: Guest) -> None:
    guest.tries()
    guest.sh(proven.keeping(guest.risky()))
    guest.tries("table inet hearth { chain other { }; }")
    Path(guest.risky().kept, "live").write_text("nonsense")
    guest.undo()
    assert guest.table() == ""


def test_removed_it_leaves_what_is_not_ours(guest: Guest) -> None:
    guest.sides.run("nft", "add table ip podman")
    before = guest.sides.listed()
    guest.tries()
    unit = guest.place / "hearth-wall.service"
    unit.touch()
    for _ in range(2):
        assert guest.sh(nft.removing(str(unit), [str(guest.file)])) == 0
    assert guest.sides.listed() == before
    assert not guest.file.exists()
    assert not unit.exists()
    assert "disable --now hearth-wall.service" in (guest.place / "calls").read_text()


@pytest.mark.parametrize("enabled", [True, False])
def test_a_guest_to_be_made_plans_a_wall_where_it_is_switched_on(enabled: bool) -> None:
    run = a_run()
    deployer = run.roles["wall"].deployer
    assert deployer
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(**{**DATA, "wall_enabled": enabled})
        deployer(Here(run, FLEET.guest("bare"), host, run.roles["wall"]))
        planned = [one.operation_meta.will_change for one in host.state.ops[host].values()]
    assert planned == ([True, True, True, True] if enabled else [False])

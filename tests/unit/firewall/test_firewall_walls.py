"""From the table of flows to what Proxmox holds, and from one wall to the other: pure."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from firewall_kit import ROLES, a_home, guest

from hearth.errors import HearthError
from hearth.firewall.flows import flows, management, pingers
from hearth.firewall.settings import read_settings
from hearth.fleet.model import Fleet
from hearth.proxmox.firewall.compare import Step, differences
from hearth.proxmox.firewall.desired import Wants, desired, group_name
from hearth.proxmox.firewall.model import CLUSTER, Entry, Rule, Seen, Wall, is_ours
from hearth.proxmox.firewall.saved import Memory, Saved
from hearth.proxmox.firewall.switch import within

PATHS = {CLUSTER: "/cluster/firewall", "node/pve": "/nodes/pve/firewall"}


def wants(fleet: Fleet | None = None, **values: Any) -> Wants:
    home = fleet or a_home()
    settings = read_settings({f"firewall_{k}": v for k, v in values.items()}, home, [ip_address("192.0.2.9")])
    return Wants(
        fleet=home,
        flows=flows(home, ROLES, settings),
        management=management(home, settings),
        ping=pingers(home, settings),
        nodes={"pve": ip_address("192.0.2.2"), "other": ip_address("192.0.2.3")},
        kept=("pve",),
        node_ports=(22, 8006),
        guests=home.guests,
    )


def said(wall: Wall, scope: str) -> set[str]:
    return {str(rule) for rule in wall.rules[scope]}


def seen(wall: Wall, enable: int = 1, **more: Any) -> Seen:
    return Seen(wall, enable, {**PATHS, **{scope: "x" for scope in wall.options}}, **more)


# --------------------------------------------------------------------- desired


def test_guests_of_a_role_share_its_group_and_keep_what_is_their_own() -> None:
    wall = desired(wants(iot=["192.0.2.50"]))
    assert said(wall, "group/h-bus") == {
        "in accept tcp 8883 from hearth-lan",
        "in accept tcp 1883 from hearth-lan",
        "in accept tcp 8883 from hearth-iot",
        "in accept tcp 1883 from hearth-iot",
    }
    assert {"the group h-bus", "the group h-base", "the group hearth-guest"} <= said(wall, "guest/spare")
    assert "in accept tcp 8883 from hearth-lan" in said(wall, "guest/hall"), "passed on, not of a role it has"
    assert "in accept tcp 23000 from hearth-door" in said(wall, "group/h-hub")
    assert said(wall, "group/h-store") == {"in accept tcp 5432 from hearth-store-sql"}


def test_the_node_is_for_management_and_its_cluster() -> None:
    wall = desired(wants(management=["192.0.2.10"]))
    assert wall.sets["management"] == {Entry(f"192.0.2.{last}") for last in (2, 3, 9, 10)}
    assert wall.sets["hearth-management"] == {Entry("192.0.2.9"), Entry("192.0.2.10")}
    assert said(wall, "group/hearth-node") == {
        "in accept tcp 8006 from management",
        "in accept tcp 22 from management",
        "in accept Ping from hearth-ping",
    }
    assert wall.aliases == {"local_network": "192.0.2.2"}, "or the whole LAN would be let in"
    assert wall.options["node/pve"]["enable"] == "1"
    assert "node/other" not in wall.options, "it is not the fleet's"


def test_exceptions_are_entries_that_do_not_match() -> None:
    wall = desired(wants(iot=["192.0.2.50"], outside=["192.0.2.41"]))
    assert {Entry("192.0.2.50", True), Entry("192.0.2.41", True)} <= wall.sets["hearth-lan"]
    assert Entry("192.0.2.0/24") in wall.sets["hearth-lan"]


def test_every_guest_is_closed_but_for_its_rules() -> None:
    home = a_home(guest("roamer", 60, address="dhcp", address6=None))
    wall = desired(replace(wants(home), log_level="info"))
    for each in home.guests:
        options = dict(wall.options[f"guest/{each.name}"])
        assert options.pop("dhcp") == ("1" if each.name == "roamer" else "0")
        assert options == {"enable": "1", "policy_in": "DROP", "ndp": "1", "log_level_in": "info"}


def test_every_rule_and_set_that_is_named_is_there() -> None:
    wall = desired(wants(iot=["192.0.2.50"], outside=["192.0.2.41"]))
    for scope, rules in wall.rules.items():
        for rule in rules:
            if rule["type"] == "group":
                assert f"group/{rule['action']}" in wall.rules, (scope, str(rule))
            else:
                assert rule["source"].removeprefix("+dc/") in wall.sets, (scope, str(rule))
            assert is_ours(rule["comment"])


@pytest.mark.parametrize("role", ["bus", "cloud_data_sync", "cloud_data_synchronizer", "cloud_data_synchron"])
def test_a_groups_name_is_one_that_proxmox_takes(role: str) -> None:
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_]+", group_name(role))
    assert len(group_name(role)) <= 18
    assert group_name(role) == group_name(role)


def test_groups_of_long_names_stay_apart() -> None:
    roles = [f"a_role_with_a_long_name_{n}" for n in range(200)]
    assert len({group_name(role) for role in roles}) == len(roles)


@pytest.mark.parametrize(
    ("comment", "ours"),
    [
        ("hearth", True),
        ("hearth: x for y", True),
        ("hearthstone", False),
        ("my hearth", False),
        (None, False),
    ],
)
def test_what_is_ours(comment: str | None, ours: bool) -> None:
    assert is_ours(comment) is ours


# --------------------------------------------------------------------- compare


def test_nothing_differs_from_itself() -> None:
    wall = desired(wants(iot=["192.0.2.50"]))
    assert differences(wall, seen(wall)) == ()


def test_what_opens_comes_before_what_closes() -> None:
    old = desired(wants(management=["192.0.2.10"], outside=["192.0.2.41"]))
    new = desired(wants(management=["192.0.2.11"], iot=["192.0.2.50"]))
    steps = differences(new, seen(old))
    verbs = [step.verb for step in steps]
    closing = [verb in ("remove", "unmake") for verb in verbs]
    assert any(closing) and not all(closing)
    assert closing == sorted(closing), verbs
    places = [(step.verb, step.kind) for step in steps]
    assert places.index(("make", "ipset")) < places.index(("add", "rule")), "a rule names a set that is there"
    assert places.index(("remove", "rule")) < places.index(("unmake", "ipset"))


def test_from_nothing_every_set_and_group_is_made_before_it_is_named() -> None:
    wall = desired(wants())
    made: set[str] = set()
    for step in differences(wall, Seen(Wall(), 0, PATHS)):
        if step.verb == "make":
            made.add(step.place)
        if step.kind == "rule":
            rule = step.what
            assert isinstance(rule, Rule)
            source = rule["source"].removeprefix("+dc/")
            assert not source or source in made
            assert rule["type"] != "group" or f"group/{rule['action']}" in made


def test_what_is_there_twice_goes_once() -> None:
    wall = desired(wants())
    rule = wall.rules["group/h-store"][0]
    twice = replace(wall, rules={**wall.rules, "group/h-store": (rule, rule)})
    assert differences(wall, seen(twice)) == (Step("remove", "rule", "group/h-store", rule),)
    assert differences(twice, seen(wall)) == (Step("add", "rule", "group/h-store", rule),)


def test_an_entry_that_changes_its_sense_is_changed_in_place() -> None:
    old = Wall(sets={"hearth-lan": frozenset({Entry("192.0.2.50")})})
    new = Wall(sets={"hearth-lan": frozenset({Entry("192.0.2.50", True)})})
    (step,) = differences(new, seen(old))
    assert (step.verb, step.old) == ("add", "192.0.2.50")


def test_what_somebody_else_has_a_part_in_is_never_removed() -> None:
    old = Wall(sets={"hearth-old": frozenset({Entry("192.0.2.1")})}, rules={"group/h-old": ()})
    steps = differences(Wall(), seen(old, shared=frozenset({"hearth-old", "group/h-old"})))
    assert [str(step) for step in steps] == ["set hearth-old: - 192.0.2.1"]
    assert {step.verb for step in differences(Wall(), seen(old))} == {"remove", "unmake"}


def test_only_options_that_hearth_keeps_are_compared() -> None:
    old = Wall(options={"guest/a": {"enable": "0", "dhcp": "1"}})
    new = Wall(options={"guest/a": {"enable": "1"}})
    assert {str(step) for step in differences(new, seen(old))} == {
        "guest/a: enable: 0 -> 1",
        "guest/a: dhcp: 1 -> none",
    }


def test_a_guest_that_is_gone_has_no_place() -> None:
    wall = Wall(rules={"guest/gone": (), "group/h-x": ()}, options={"guest/gone": {}, CLUSTER: {}})
    kept = within(wall, Seen(Wall(), 1, PATHS))
    assert set(kept.rules) == {"group/h-x"}
    assert set(kept.options) == {CLUSTER}


# ----------------------------------------------------------------------- saved


def test_saved_rules_come_back_as_they_were(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "state" / "firewall.json")
    assert memory.load() is None
    saved = Saved(desired(wants(iot=["192.0.2.50"], outside=["192.0.2.41"])), enable=True)
    memory.save(saved)
    assert memory.load() == saved
    assert memory.path.stat().st_mode & 0o077 == 0
    memory.arm(saved)
    assert memory.load() == replace(saved, armed=True)
    memory.forget()
    memory.forget()
    assert memory.load() is None


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"wall": {}, "enable": 1, "armed": 0})])
def test_a_damaged_file_is_named_and_not_taken_for_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "firewall.json"
    path.write_text(content)
    with pytest.raises(HearthError, match=r"firewall\.json"):
        Memory(path).load()

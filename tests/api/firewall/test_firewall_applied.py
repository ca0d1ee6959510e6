"""The firewall of a home, written to the fake and read back by a judge that knows only what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from firewall_home import GUESTS, HERE, FirewallHome, a_fleet, a_guest, all_guests

from hearth.errors import HearthError
from hearth.proxmox.firewall.observe import COUNT
from hearth.proxmox.privileges import needed

PORTS = {22, 1883, 3000, 5432, 8883, 23000, 80, 13000}
LAN = {("hall", 3000), ("hall", 8883), ("hall", 1883), ("comms", 3000), ("comms", 8883), ("comms", 1883)} | {
    ("spare", 8883),
    ("spare", 1883),
}
BROKERS = {each for each in LAN if each[1] in (8883, 1883)}
SSH = {(name, 22) for name in GUESTS}
STORE = {("database", 5432)}


def reached(home: FirewallHome, source: str) -> set[tuple[str, int]]:
    """Every port of every guest that answers to an address."""
    return {(name, port) for name in GUESTS for port in PORTS if home.lets_in(source, port, name)}


@pytest.mark.parametrize("at", ["192.168.1.{}", "fd00::{}"])
def test_the_wall_is_the_table(home: FirewallHome, at: str) -> None:
    home.values |= {
        "firewall_management": [at.format(10)],
        "firewall_iot": [at.format(50)],
        "firewall_outside": [at.format(41)],
    }
    home.settle()
    assert reached(home, at.format(77)) == LAN
    assert reached(home, at.format(10)) == LAN | SSH
    assert reached(home, at.format(50)) == BROKERS
    assert reached(home, at.format(41)) == {("hall", 3000), ("hall", 8883)}
    assert reached(home, at.format(135)) == LAN | STORE
    assert reached(home, at.format(134)) == LAN | {("comms", 23000)}
    assert reached(home, HERE) == LAN | SSH


@pytest.mark.parametrize("at", ["192.168.1.77", "203.0.113.7", "2001:db8::7"])
def test_what_is_open_to_the_world_is_open_to_anybody(home: FirewallHome, at: str) -> None:
    home.values["firewall_open"] = {"database": ["80/tcp from world"]}
    home.settle()
    assert home.lets_in(at, 80, "database")
    assert not home.lets_in(at, 80, "comms")
    assert not home.lets_in(at, 22, "database") or at.startswith("192.168.1.")


def test_the_node_answers_to_management_alone(home: FirewallHome) -> None:
    home.values["firewall_management"] = ["192.168.1.10"]
    home.settle()
    for port in (22, 8006):
        assert [home.lets_in(f"192.168.1.{last}", port) for last in (9, 10, 77, 135)] == [
            True,
            True,
            False,
            False,
        ]
    assert not home.lets_in("192.168.1.10", 9100)


def test_a_second_run_is_silent_and_its_cost_is_declared(home: FirewallHome) -> None:
    home.settle()
    run = home.run()
    for guest in home.fleet.guests:
        run.survey.plan(guest)
    home.pve.log.clear()
    assert not run.walls.plan("pve").does_something
    asked = home.pve.log.requests
    assert {each.method for each in asked} == {"GET"}
    stored = home.stored
    constant = COUNT["cluster"] + COUNT["node"] + len(stored["ipset"]) + len(stored["groups"])
    assert len(asked) == constant + COUNT["guest"] * len(GUESTS)
    assert COUNT["guest"] <= 2


def test_a_plan_shows_every_change_and_writes_nothing(home: FirewallHome) -> None:
    home.pve.log.clear()
    plan = home.run().walls.plan("pve")
    assert home.pve.log.writes() == []
    lines = "\n".join(plan.lines())
    assert "firewall off; it will be on" in lines
    assert "group/h-bus: + in accept tcp 8883 from hearth-lan" in lines
    assert "guest/comms: policy_in: none -> DROP" in lines
    assert plan.to_json()["does_something"]
    assert len(plan.to_json()["steps"]) == len(plan.steps) > 40


def test_a_change_of_one_port_is_one_change_of_one_group(home: FirewallHome) -> None:
    home.settle()
    home.values["firewall_iot"] = ["192.168.1.50"]
    steps = {str(step) for step in home.run().walls.plan("pve").steps}
    assert "set hearth-lan: + not 192.168.1.50" in steps
    assert "group/h-bus: + in accept tcp 1883 from hearth-iot" in steps
    touched = {step.partition(":")[0] for step in steps if step.startswith("guest/")}
    assert touched == {"guest/hall"}, "the door's passages are its own; all else stands in the group"
    home.settle()
    del home.values["firewall_iot"]
    home.settle()
    assert "hearth-iot" not in home.stored["ipset"]


def test_what_drifted_is_put_right(home: FirewallHome) -> None:
    home.settle()
    before = home.content()

    def drift() -> None:
        cluster = home.pve.firewall_config("cluster")
        cluster["ipset"]["hearth-lan"].clear()
        del cluster["groups"]["h-bus"][0]
        cluster["groups"]["h-base"].append(dict(cluster["groups"]["h-base"][0]))
        cluster["options"]["policy_in"] = "ACCEPT"
        home.pve.firewall_config("ct", vmid=135)["options"] = {"enable": 0}

    home.server.call(drift)
    assert len(home.deploy()) > 5
    assert home.content() == before
    assert home.enable == 1


def test_the_guests_cable_passes_the_firewall(home: FirewallHome) -> None:
    run = home.run()
    (change,) = [c for c in run.survey.plan(home.fleet.guest("comms")).changes if c.field == "firewall"]
    assert (change.new, change.kind) == ("1", "live")
    home.fleet = home.fleet.model_copy(update={"firewall": False})
    assert not [c for c in home.run().survey.plan(home.fleet.guest("comms")).changes if c.field == "firewall"]


def test_a_guest_to_come_is_planned_and_written_once_it_is_there(home: FirewallHome) -> None:
    home.settle()
    home.fleet = a_fleet(*all_guests(), a_guest("new", 150, ["bus"]))
    run = home.run()
    assert any("guest/new" in line for line in run.walls.plan("pve").lines())
    run.walls.converge("pve", home.said.append)  # it could not be made: the rest is done all the same
    assert home.enable == 1
    home.server.call(
        lambda: home.pve.add_ct(150, "new", node="pve", config={"tags": "hearth"}, status="running")
    )
    home.deploy()
    assert home.lets_in(HERE, 22, "new")
    assert home.lets_in("192.168.1.77", 8883, "new")
    assert not home.lets_in("192.168.1.77", 9999, "new")


# --------------------------------------------------------------------- foreign


def furnish(home: FirewallHome, path: str, **params: Any) -> None:
    home.run().survey.api("pve").post(path, **params)


def test_what_is_not_ours_stays_where_it_is_and_is_reported(home: FirewallHome) -> None:
    root = "/cluster/firewall"
    furnish(home, f"{root}/aliases", name="printer", cidr="192.168.1.60")
    furnish(home, f"{root}/ipset", name="management", comment="mine")
    furnish(home, f"{root}/ipset/management", cidr="192.168.1.11")
    furnish(home, f"{root}/ipset", name="friends")
    furnish(home, f"{root}/ipset/friends", cidr="192.168.1.12")
    furnish(home, f"{root}/groups", group="web")
    furnish(home, f"{root}/groups/web", type="in", action="ACCEPT", proto="tcp", dport="80", enable=1)
    furnish(home, f"{root}/rules", type="in", action="ACCEPT", proto="tcp", dport="9100", enable=1)
    for comment in ("first", "second"):
        furnish(
            home, "/nodes/pve/lxc/135/firewall/rules",
            type="in", action="ACCEPT", proto="tcp", dport="9999", enable=1, comment=comment,
        )  # fmt: skip
    home.deploy()
    lines = "\n".join(home.run().walls.plan("pve").lines())
    for word in ("printer", "192.168.1.11", "friends", "group web", "tcp 9100", "tcp 9999"):
        assert word in lines
    assert not home.run().walls.plan("pve").does_something
    stored = home.stored
    assert stored["ipset"]["friends"] == [{"cidr": "192.168.1.12"}]
    assert {"cidr": "192.168.1.11"} in stored["ipset"]["management"]
    assert stored["ipset_comments"]["management"] == "mine"
    mine = [rule for rule in home.of_guest("comms")["rules"] if rule.get("dport") == "9999"]
    assert [rule["comment"] for rule in mine] == ["second", "first"]
    assert home.lets_in("192.168.1.77", 9100)


def test_a_foreign_entry_in_a_set_of_ours_is_neither_doubled_nor_removed(home: FirewallHome) -> None:
    home.settle()
    home.server.call(
        lambda: home.pve.firewall_config("cluster")["ipset"]["hearth-lan"].append({"cidr": "10.0.0.0/8"})
    )
    home.values["firewall_lan"] = ["10.0.0.0/8"]
    home.deploy()
    assert home.enable == 1
    home.values["firewall_lan"] = []
    home.deploy()
    assert {"cidr": "10.0.0.0/8"} in home.stored["ipset"]["hearth-lan"]


def test_a_foreign_local_network_is_left_and_said(home: FirewallHome) -> None:
    furnish(home, "/cluster/firewall/aliases", name="local_network", cidr="192.168.1.0/24")
    home.values["firewall_management"] = ["192.168.1.10"]
    home.deploy()
    assert home.stored["aliases"]["local_network"]["cidr"] == "192.168.1.0/24"
    assert any("nodes answer to it too" in line for line in home.run().walls.plan("pve").lines())


# ------------------------------------------------------------------ least rights


def test_the_rights_that_are_named_are_enough_and_none_too_many(home: FirewallHome) -> None:
    access = home.pve.access
    wanted = [p for p in needed(home.fleet) if not p.path.startswith(("/storage", "/sdn"))]

    def only(lacking: tuple[str, str] | None) -> None:
        access.acl.clear()
        for place in {p.path for p in wanted}:
            names = {p.name for p in wanted if p.path == place and (p.path, p.name) != lacking}
            role = f"R{place.replace('/', '-')}"
            access.custom[role] = frozenset(names)
            for who in ("hearth@pve", "hearth@pve!deploy"):
                home.pve.give(place, role, who, any(p.below for p in wanted if p.path == place))

    home.server.call(lambda: only(None))
    home.settle()
    for privilege in [("/", "Sys.Audit"), ("/", "Sys.Modify"), ("/nodes/pve", "Sys.Modify")]:
        home.server.call(lambda: home.pve.__dict__.pop("_fw_state", None))
        home.server.call(lambda lacking=privilege: only(lacking))
        with pytest.raises(HearthError, match="Permission check failed"):
            home.deploy()

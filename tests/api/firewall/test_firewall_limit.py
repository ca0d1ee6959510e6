"""A run that leaves the nodes out (`--limit`) keeps its guests' part of Proxmox's firewall, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from firewall_home import FirewallHome, Run, a_fleet, a_guest, all_guests

from hearth.proxmox.firewall.switch import ON_TRIAL
from hearth.role.declaration import Port, Role


@contextmanager
def limited(home: FirewallHome, *names: str) -> Iterator[Run]:
    """A run about these guests alone."""
    run = home.run()
    run.survey.choose(names)
    yield run
    run.survey.hang_up()


def deploy(home: FirewallHome, *names: str) -> list[str]:
    """Its firewall steps; the lines of their plans."""
    lines = []
    with limited(home, *names) as run:
        for name in names:
            plan = run.walls.plan(name)
            lines += list(plan.lines())
            if plan.does_something:
                run.walls.converge(name, home.said.append)
    return lines


def forget(home: FirewallHome, name: str) -> None:
    """What Proxmox does when a guest is destroyed."""
    vmid = home.fleet.guest(name).vmid
    home.server.call(lambda: home.pve._fw()["guests"].pop(vmid))


def test_a_guest_that_was_made_anew_does_not_stand_open(home: FirewallHome) -> None:
    before = home.settle().content()
    forget(home, "comms")
    assert home.lets_in("192.168.1.77", 13000, "comms")
    assert deploy(home, "comms")
    assert not home.lets_in("192.168.1.77", 13000, "comms")
    assert home.lets_in("192.168.1.77", 3000, "comms")
    assert home.content() == before
    assert home.enable == 1
    assert deploy(home, "comms") == []
    assert home.deploy() == []


def test_several_are_one_change(home: FirewallHome) -> None:
    before = home.settle().content()
    for name in ("comms", "spare"):
        forget(home, name)
    changes: list[str] = []
    home.before_request = lambda method, path, params: (
        changes.append(path) if params.get("enable") == ON_TRIAL else None
    )
    assert deploy(home, "comms", "spare")
    assert home.content() == before
    on_trial = [path for path in changes if path == "/cluster/firewall/options"]
    assert len(on_trial) == 2, "once before the rules change, once to prove them"


def test_what_belongs_to_others_waits_for_the_whole_run(home: FirewallHome) -> None:
    home.settle()
    bus = replace_port(home.roles["bus"], 8884)
    home.roles = {**home.roles, "bus": bus}
    home.values = {"firewall_iot": ["192.168.1.50"], "firewall_management": ["192.168.1.10"]}
    forget(home, "spare")
    before = home.content()
    deploy(home, "spare")
    after = home.content()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {home.fleet.guest("spare").vmid}
    assert home.deploy(), "the group that both brokers share, and the sets"


def test_a_new_role_brings_its_group_and_the_sets_that_it_names(home: FirewallHome) -> None:
    home.settle()
    home.roles = {
        **home.roles,
        "lamp": Role(name="lamp", provides=(Port("light", 6000, audience="lan"),)),
        "clock": Role(name="clock", provides=(Port("time", 7000, audience="lan", devices=True),)),
    }
    spare = a_guest("spare", 138, ("bus", "lamp", "clock"))
    home.fleet = a_fleet(*(each for each in all_guests() if each.name != "spare"), spare)
    home.values = {"firewall_iot": ["192.168.1.50"]}
    assert deploy(home, "spare")
    assert home.lets_in("192.168.1.77", 6000, "spare")
    assert home.lets_in("192.168.1.50", 7000, "spare")
    assert not home.lets_in("192.168.1.77", 6001, "spare")
    assert {"h-lamp", "h-clock"} <= set(home.stored["groups"])


def test_a_firewall_that_is_not_on_is_the_whole_runs_to_switch_on(home: FirewallHome) -> None:
    assert deploy(home, "comms") == []
    assert home.enable == 0
    assert not home.stored["ipset"]
    assert not home.stored["groups"]


def test_an_appliance_has_no_part(home: FirewallHome) -> None:
    home.fleet = a_fleet(*all_guests(), a_guest("box", 150, (), appliance=True))
    home.settle()
    assert deploy(home, "box") == []


def replace_port(role: Role, number: int) -> Role:
    """The same role with another number for its first port."""
    first, *rest = role.provides
    return replace(role, provides=(replace(first, number=number), *rest))

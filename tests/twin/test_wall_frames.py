"""What a compiled wall lets through: real frames over real bridges, without containers.

Two guests behind their small bridges, a stranger on the home's bridge, and the node itself. Each case is what
the API would store, and who finds which door open afterwards.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from tests.twin.wall_cases import (
    ACCEPT,
    CASES,
    DOORS,
    DROP,
    FOUR,
    MACS,
    NODE,
    NODE_CASES,
    OUT,
    SIX,
    STRANGER,
    A,
    B,
    Case,
    conf,
    on,
)
from tests.twin.wall_kit import Door, Machine, check
from twin import packages
from twin.commands import run, works
from twin.wall import compiler, plug
from twin.wall.state import Conf, Guest, Node, Port, Wall


@dataclass(frozen=True)
class Home:
    """The machines of this module."""

    a: Machine
    b: Machine
    node: Machine
    stranger: Machine

    def apply(self, wall: Wall) -> None:
        """Put a wall up."""
        run(
            *("nsenter", f"--net={self.node.namespace}"),
            "--",
            *("nft", "-f", "-"),
            stdin=compiler.ruleset(wall),
        )


@pytest.fixture(scope="module")
def machines() -> Iterator[Home]:
    packages.install()
    names = {number: f"wf{os.getpid()}-{number}" for number in (NODE, A, B, STRANGER)}
    try:
        yield from _machines(names)
    finally:
        for name in names.values():
            works("ip", "netns", "del", name)


def _machines(names: dict[int, str]) -> Iterator[Home]:
    for name in names.values():
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    node = names[NODE]
    run("ip", "-n", node, "link", "add", "vmbr0", "type", "bridge", "forward_delay", "0")
    _address(node, "vmbr0", NODE)
    for number, mac in MACS.items():
        run("ip", "-n", node, "-batch", "-", stdin=plug.commands(number, 0, "vmbr0"))
        _cable(node, f"veth{number}i0", plug.firewall_bridge(number, 0), names[number], mac)
        _address(names[number], "eth0", number)
    _cable(node, "stranger", "vmbr0", names[STRANGER], "02:48:00:00:00:4d")
    _address(names[STRANGER], "eth0", STRANGER)
    found = {number: Machine(name, f"/run/netns/{name}") for number, name in names.items()}
    for number, machine in found.items():
        machine.serve(
            *((proto, form.format(number), port) for form in (FOUR, SIX) for proto, port in DOORS),
        )
    try:
        yield Home(found[A], found[B], found[NODE], found[STRANGER])
    finally:
        for machine in found.values():
            machine.close()


def _cable(node: str, end: str, bridge: str, other: str, mac: str) -> None:
    peer = ("peer", "name", "eth0", "address", mac, "netns", other)
    run("ip", "-n", node, "link", "add", end, "type", "veth", *peer)
    run("ip", "-n", node, "link", "set", end, "master", bridge, "up")


def _address(namespace: str, link: str, number: int) -> None:
    run("ip", "-n", namespace, "addr", "add", f"{FOUR.format(number)}/24", "dev", link)
    run("ip", "-n", namespace, "addr", "add", f"{SIX.format(number)}/64", "dev", link, "nodad")
    run("ip", "-n", namespace, "link", "set", link, "up")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_who_reaches_a_guest(machines: Home, case: Case) -> None:
    machines.apply(wall_of(case))
    four, six = doors(FOUR.format(A)), doors(SIX.format(A))

    def found(machine: Machine, reached: set[str]) -> None:
        expected = [(door, said(door, set() if case.six is False else reached)) for door in six]
        check(machine, [*((door, said(door, reached)) for door in four), *expected])

    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(found, machines.stranger, case.stranger),
            pool.submit(found, machines.b, case.b),
            pool.submit(found, machines.node, case.node),
        ]
    for one in asked:
        one.result()


def test_a_refusal_is_an_answer(machines: Home) -> None:
    cluster = conf(options={"enable": 1})
    rules = [
        {**ACCEPT, "action": "REJECT", "proto": "tcp", "dport": "22"},
        {**DROP, "proto": "tcp", "dport": "80"},
    ]
    for policy, rest in (("ACCEPT", "open"), ("REJECT", "refused")):
        machines.apply(Wall(cluster, (guest(A, on(*rules, policy_in=policy)),), (the_node(),)))
        for form in (FOUR, SIX):
            expected = {22: "refused", 80: "closed", 443: rest}
            check(machines.stranger, [(("tcp", form.format(A), port), it) for port, it in expected.items()])
            check(machines.stranger, [(("udp", form.format(A), 53), rest)])


def test_what_a_guest_may_not_send(machines: Home) -> None:
    rules = (
        {**OUT, "action": "DROP", "macro": "HTTP"},
        {**OUT, "macro": "SSH"},
        {**OUT, "type": "group", "action": "way"},
    )
    cluster = conf(options={"enable": 1}, groups={"way": [{**OUT, "macro": "HTTPS"}]})
    a = on(*rules, policy_in="ACCEPT", policy_out="DROP")
    machines.apply(Wall(cluster, (guest(A, a),), (the_node(enable=0),)))
    for number in (B, STRANGER, NODE):
        for form in (FOUR, SIX):
            check(
                machines.a, [(door, said(door, {"tcp22", "tcp443"})) for door in doors(form.format(number))]
            )
            # What it answers is part of what was let in.
    check(machines.stranger, [(door, "open") for door in doors(FOUR.format(A))])


def test_both_ends_are_guarded(machines: Home) -> None:
    """A guest's own file says what it sends, the other's what it gets."""
    a = on({**OUT, "macro": "HTTP"}, {**OUT, "macro": "SSH"}, policy_out="DROP")
    b = on({**ACCEPT, "macro": "SSH"}, {**ACCEPT, "macro": "HTTPS"})
    machines.apply(Wall(conf(options={"enable": 1}), (guest(A, a), guest(B, b)), (the_node(),)))
    for form in (FOUR, SIX):
        check(machines.a, [(door, said(door, {"tcp22"})) for door in doors(form.format(B))])
        check(machines.stranger, [(door, said(door, {"tcp22", "tcp443"})) for door in doors(form.format(B))])


def test_ping_follows_its_own_rules(machines: Home) -> None:
    pings = [("ping", form.format(A), 0) for form in (FOUR, SIX)]
    machines.apply(Wall(conf(options={"enable": 1}), (guest(A, on()),), (the_node(),)))
    check(machines.stranger, [(door, "closed") for door in pings])
    check(machines.a, [(("ping", form.format(STRANGER), 0), "open") for form in (FOUR, SIX)])
    machines.apply(
        Wall(conf(options={"enable": 1}), (guest(A, on({**ACCEPT, "macro": "Ping"})),), (the_node(),))
    )
    check(machines.stranger, [(door, "open") for door in pings])


def test_others_addresses_and_macs_are_not_sent(machines: Home) -> None:
    doors = [("tcp", FOUR.format(STRANGER), 80)]
    extra = FOUR.format(103)
    machines.a.run("ip", "addr", "add", f"{extra}/24", "dev", "eth0")
    bound = ("ip", "route", "replace", FOUR.format(STRANGER), "dev", "eth0", "src", extra)
    try:
        machines.a.run(*bound)
        machines.apply(Wall(conf(options={"enable": 1}), (guest(A, on()),), (the_node(),)))
        check(machines.a, [(door, "open") for door in doors])
        machines.apply(Wall(conf(options={"enable": 1}), (guest(A, on(ipfilter=1)),), (the_node(),)))
        check(machines.a, [(door, "closed") for door in doors])
        machines.a.run("ip", "route", "del", FOUR.format(STRANGER))
        check(machines.a, [(door, "open") for door in doors])
    finally:
        works(
            "ip",
            "netns",
            "exec",
            machines.a.namespace.rpartition("/")[2],
            "ip",
            "addr",
            "del",
            f"{extra}/24",
            "dev",
            "eth0",
        )
    wrong = Guest(A, "ct", on(), (Port(0, f"veth{A}i0", "02:48:00:00:00:99"),))
    machines.apply(Wall(conf(options={"enable": 1}), (wrong,), (the_node(),)))
    check(machines.a, [(door, "closed") for door in doors])
    loose = Guest(A, "ct", on(macfilter=0), wrong.ports)
    machines.apply(Wall(conf(options={"enable": 1}), (loose,), (the_node(),)))
    check(machines.a, [(door, "open") for door in doors])


# ----------------------------------------------------------------------- the node


@pytest.mark.parametrize(
    ("cluster", "options", "reached"), [c[1:] for c in NODE_CASES], ids=[c[0] for c in NODE_CASES]
)
def test_who_reaches_the_node(
    machines: Home, cluster: Conf, options: dict[str, Any], reached: set[str]
) -> None:
    machines.apply(Wall(cluster, (), (the_node(**options),)))
    check(machines.stranger, [(door, said(door, reached)) for door in doors(FOUR.format(NODE))])


def test_the_nodes_rules_come_before_the_clusters(machines: Home) -> None:
    cluster = conf(options={"enable": 1}, rules=[{**ACCEPT, "macro": "HTTP"}, {**DROP, "macro": "HTTPS"}])
    node = conf(rules=[{**DROP, "macro": "HTTP"}, {**ACCEPT, "macro": "HTTPS"}])
    machines.apply(Wall(cluster, (), (the_node_of(node),)))
    expected = {"tcp22", "tcp443", "tcp8006"}
    check(machines.stranger, [(door, said(door, expected)) for door in doors(FOUR.format(NODE))])
    # The local network is IPv4's: over IPv6 management has to be named.
    check(machines.stranger, [(door, said(door, {"tcp443"})) for door in doors(SIX.format(NODE))])


def test_the_node_is_guarded_from_what_runs_in_its_own_network(machines: Home) -> None:
    """The twin's commands run there: they stand for an admin elsewhere."""
    own = doors(FOUR.format(NODE))
    machines.apply(Wall(conf(options={"enable": 1}, rules=[{**DROP, "macro": "SSH"}]), (), (the_node(),)))
    check(machines.node, [(door, said(door, {"tcp8006"})) for door in own])


def test_what_the_node_sends(machines: Home) -> None:
    cluster = conf(options={"enable": 1, "policy_out": "DROP"}, rules=[{**OUT, "macro": "HTTP"}])
    machines.apply(Wall(cluster, (), (the_node(),)))
    expected = {"tcp22", "tcp80", "tcp8006"}
    check(machines.node, [(door, said(door, expected)) for door in doors(FOUR.format(STRANGER))])
    # To itself it is an admin elsewhere: what it may send there is not the node's affair.
    cluster["options"]["policy_in"] = "ACCEPT"
    machines.apply(Wall(cluster, (), (the_node(),)))
    check(machines.node, [(door, "open") for door in doors(FOUR.format(NODE))])


def test_off_again_leaves_nothing(machines: Home) -> None:
    machines.apply(Wall(conf(options={"enable": 1}), (guest(A, on()),), (the_node(),)))
    assert compiler.TABLE in machines.node.run("nft", "list", "ruleset")
    machines.apply(Wall(conf(options={"enable": 0}), (guest(A, on()),), (the_node(),)))
    assert compiler.TABLE not in machines.node.run("nft", "list", "ruleset")


# ------------------------------------------------------------------------- helpers


def wall_of(case: Case) -> Wall:
    cluster = copy.deepcopy(case.cluster) if case.cluster else conf(options={"enable": 1})
    return Wall(cluster, (guest(A, case.a, case.flag),), (the_node(),))


def guest(number: int, file: Conf, flag: bool = True) -> Guest:
    port = Port(0, f"veth{number}i0", MACS[number], (FOUR.format(number), SIX.format(number)))
    return Guest(number, "ct", file, (port,) if flag else ())


def the_node(**options: Any) -> Node:
    return the_node_of(conf(options=options))


def the_node_of(file: Conf) -> Node:
    own = tuple(ip_address(form.format(NODE)) for form in (FOUR, SIX))
    return Node("pve", file, own, "192.168.1.0/24")


def doors(address: str) -> list[Door]:
    return [(proto, address, port) for proto, port in DOORS]


def said(door: Door, reached: set[str]) -> str:
    return "open" if f"{door[0]}{door[2]}" in reached else "closed"

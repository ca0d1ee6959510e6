"""What Proxmox's firewall should hold: pure, from the table of flows.

A group for each role, which the guests with that role share; what only one guest has (the front door's
passages) stands with the guest. The node answers to management alone.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hearth.firewall.flows import Flow
from hearth.firewall.sources import Address, Sources, short, sources
from hearth.fleet.model import Fleet, Guest
from hearth.proxmox.firewall.model import (
    CLUSTER,
    Entry,
    Rule,
    Wall,
    group_scope,
    guest_scope,
    marked,
    node_scope,
)

MANAGEMENT = "management"  # Proxmox's own name: what nodes answer to, `man pve-firewall`
ADMIN = "hearth-management"  # the same without the nodes: what guests answer to
PING = "hearth-ping"
ANYBODY = (
    "world"  # no set: Proxmox refuses 0.0.0.0/0 in one ("a zero prefix is not allowed in ipset entries")
)
NODE_GROUP, GUEST_GROUP = "hearth-node", "hearth-guest"
LOCAL = "local_network"  # Proxmox lets this alias' network in to every node, and takes the node's LAN for it
API_PORT = 8006
GROUP_LENGTH = 18  # PVE::Firewall, `$security_group_name_pattern` and maxLength


@dataclass(frozen=True)
class Wants:
    """What the wall is made from.

    Args:
        fleet: the fleet.
        flows: the table, of `hearth.firewall.flows`.
        management, ping: from where the admin works; who may ping.
        nodes: the cluster's nodes, name -> address.
        kept: those of them that are the fleet's.
        node_ports: TCP ports of the nodes that management reaches.
        guests: those that are there, or will be.
        log_level: how loudly the refused is logged.
    """

    fleet: Fleet
    flows: tuple[Flow, ...]
    management: Sources
    ping: Sources
    nodes: Mapping[str, Address]
    kept: tuple[str, ...]
    node_ports: tuple[int, ...]
    guests: tuple[Guest, ...]
    log_level: str = "nolog"


def desired(wants: Wants) -> Wall:
    """The whole wall."""
    groups = _groups(wants)
    rules: dict[str, tuple[Rule, ...]] = {
        group_scope(group_name(role)): tuple(map(_rule, flows)) for role, flows in groups.items()
    }
    rules[group_scope(NODE_GROUP)] = (
        *(_accept("tcp", port, MANAGEMENT, "the node, for management") for port in wants.node_ports),
        _ping("the node, for the LAN"),
    )
    rules[group_scope(GUEST_GROUP)] = (_ping("guests, for the LAN"),)
    rules[CLUSTER] = (_uses(NODE_GROUP),)
    for guest in wants.guests:
        rules[guest_scope(guest.name)] = tuple(_of_guest(guest, wants, groups))
    return Wall(_sets(wants), rules, _options(wants), _aliases(wants))


def group_name(role: str) -> str:
    """The security group of a role: `h-ROLE`, shortened where Proxmox takes no such length."""
    name = f"h-{role}"
    if len(name) <= GROUP_LENGTH:
        return name
    digest = hashlib.sha256(role.encode()).hexdigest()[:6]
    return f"{name[: GROUP_LENGTH - 7]}-{digest}"


def set_name(flow: Flow) -> str:
    """The set of a flow's sources."""
    if flow.who == "management":
        return ADMIN
    return f"hearth-{flow.why.replace('.', '-') if flow.who == 'fleet' else flow.who}"


def _groups(wants: Wants) -> dict[str, tuple[Flow, ...]]:
    """Role -> the flows that every guest with it has, each taken from the first of them."""
    per_guest: dict[str, list[dict[tuple[object, ...], Flow]]] = defaultdict(list)
    for guest in wants.fleet.guests:  # all of them: a group does not change while guests come
        for role in guest.roles:
            per_guest[role].append({_key(flow): flow for flow in _own(wants.flows, guest, role)})
    found = {}
    for role, guests in per_guest.items():
        common = set.intersection(*(set(flows) for flows in guests))
        if common:
            found[role] = tuple(flow for key, flow in guests[0].items() if key in common)
    return found


def _own(flows: Iterable[Flow], guest: Guest, role: str) -> Iterable[Flow]:
    return (flow for flow in flows if flow.guest == guest.name and flow.why.partition(".")[0] == role)


def _key(flow: Flow) -> tuple[object, ...]:
    return flow.port, flow.protocol, flow.who, flow.why


def _of_guest(guest: Guest, wants: Wants, groups: Mapping[str, Sequence[Flow]]) -> Iterable[Rule]:
    yield _uses(GUEST_GROUP)
    shared = set()
    for role in guest.roles:
        if role in groups:
            yield _uses(group_name(role))
            shared |= {_key(flow) for flow in groups[role]}
    for flow in wants.flows:
        if flow.guest == guest.name and _key(flow) not in shared:
            yield _rule(flow)


def _rule(flow: Flow) -> Rule:
    group = None if flow.who == ANYBODY else set_name(flow)
    return _accept(flow.protocol, flow.port, group, f"{flow.why} for {flow.who}")


def _accept(protocol: str, port: int, group: str | None, why: str) -> Rule:
    row = {"type": "in", "action": "ACCEPT", "proto": protocol, "dport": port}
    return Rule.of({**row, "source": f"+dc/{group}" if group else None, "comment": marked(why)})


def _ping(why: str) -> Rule:
    # The macro holds for ICMP and ICMPv6 (`$pve_ipv6fw_macros`).
    row = {"type": "in", "action": "ACCEPT", "macro": "Ping", "source": f"+dc/{PING}"}
    return Rule.of({**row, "comment": marked(why)})


def _uses(group: str) -> Rule:
    return Rule.of({"type": "group", "action": group, "comment": marked("")})


def _sets(wants: Wants) -> dict[str, frozenset[Entry]]:
    found = {
        MANAGEMENT: _entries(
            sources(wants.management.networks, wants.management.without, wants.nodes.values())
        ),
        ADMIN: _entries(wants.management),
        PING: _entries(wants.ping),
    }
    named = [flow for flow in wants.flows if flow.who != ANYBODY]
    return found | {set_name(flow): _entries(flow.sources) for flow in named}


def _entries(given: Sources) -> frozenset[Entry]:
    return frozenset(
        (
            *(Entry(short(network)) for network in given.networks),
            *(Entry(short(network), nomatch=True) for network in given.without),
        )
    )


def _options(wants: Wants) -> dict[str, dict[str, str]]:
    found = {CLUSTER: {"policy_in": "DROP"}}
    for node in wants.kept:
        found[node_scope(node)] = {"enable": "1", "ndp": "1", "log_level_in": wants.log_level}
    for guest in wants.guests:
        found[guest_scope(guest.name)] = {
            "enable": "1",
            "policy_in": "DROP",
            "dhcp": str(int("dhcp" in (guest.address, guest.address6))),
            "ndp": "1",
            "log_level_in": wants.log_level,
        }
    return found


def _aliases(wants: Wants) -> dict[str, str]:
    # Without it every node would answer to its whole LAN (`local_network` in PVE/Firewall.pm). The nodes
    # themselves stand in the set `management`, so nothing is left for it but one of them.
    return {LOCAL: str(next(iter(wants.nodes.values())))}

"""A fleet with everything that flows are made of, and what is asked of its table."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from hearth.firewall.flows import Flow
from hearth.fleet.model import Fleet, Guest, Network, Node
from hearth.role.declaration import Need, Port, Role

NODE = Node(
    name="pve", address=IPv4Address("192.0.2.2"), endpoint="https://192.0.2.2:8006", storage="s", images="i"
)
LAN = Network(
    name="home",
    bridge="vmbr0",
    subnet=IPv4Network("192.0.2.0/24"),
    subnet6=IPv6Network("2001:db8::/64"),
)
ROLES = {
    "base": Role(name="base", provides=(Port("ssh", 22, audience="management"),)),
    "hub": Role(
        name="hub",
        provides=(
            Port("web", 3000, tls=True, behind=13000, audience="lan", door=True),
            Port("inner", 3001, audience="host"),
        ),
        needs=(Need("store", "sql"), Need("bus", "secure")),
    ),
    "bus": Role(
        name="bus",
        provides=(
            Port("secure", 8883, tls=True, audience="lan", door=True, devices=True),
            Port("plain", 1883, audience="lan", door=True, devices=True),
        ),
    ),
    "store": Role(name="store", provides=(Port("sql", 5432, tls=True),)),
    "clock": Role(name="clock", provides=(Port("time", 123, protocol="udp", audience="lan"),)),
    "front": Role(name="front"),
    "front_door": Role(name="front_door", brings=("front",)),
}


def guest(name: str, last: int, *roles: str, **more: Any) -> Guest:
    """A container at 192.0.2.<last> and 2001:db8::<last>."""
    given: dict[str, Any] = {
        "kind": "lxc",
        "node": "pve",
        "network": "home",
        "address": IPv4Address(f"192.0.2.{last}"),
        "address6": IPv6Address(f"2001:db8::{last}"),
    }
    return Guest(name=name, vmid=100 + last, roles=("base", *roles), **{**given, **more})


def a_home(*more: Guest) -> Fleet:
    """A door, a hub with a bus, a second bus, two stores."""
    return Fleet(
        nodes=(NODE,),
        networks=(LAN,),
        guests=(
            guest("hall", 34, "front_door", "front"),
            guest("comms", 35, "bus", "hub", "front"),
            guest("spare", 38, "bus"),
            guest("one", 36, "store", "clock"),
            guest("two", 39, "store"),
            *more,
        ),
    )


def row(flow: Flow) -> tuple[str, int, str]:
    """A flow without its addresses."""
    return flow.guest, flow.port, flow.who


def answers(table: tuple[Flow, ...], source: str) -> set[tuple[str, int]]:
    """The (guest, port) that answer to an address."""
    return {(flow.guest, flow.port) for flow in table if ip_address(source) in flow.sources}

"""What is stored in the cases of test_wall_frames.py, and who finds which door open afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin.wall.state import Conf, empty

A, B, NODE, STRANGER = 101, 102, 185, 77
FOUR, SIX = "192.168.1.{}", "fd48:6561:7274::{}"
ACCEPT = {"type": "in", "action": "ACCEPT", "enable": 1}
DROP = {**ACCEPT, "action": "DROP"}
OUT = {**ACCEPT, "type": "out"}
MACS = {A: "02:48:00:00:00:65", B: "02:48:00:00:00:66"}
DOORS = [("tcp", 22), ("tcp", 80), ("tcp", 443), ("tcp", 8006), ("udp", 53)]
ALL = {"tcp22", "tcp80", "tcp443", "tcp8006", "udp53"}


def conf(**parts: Any) -> Conf:
    """A stored file."""
    return {**empty(), **parts}


def on(*rules: dict[str, Any], **options: Any) -> Conf:
    """A guest's file with its firewall on."""
    return conf(options={"enable": 1, **options}, rules=list(rules))


@dataclass
class Case:
    """What is stored, and the doors of A that each other machine then finds open."""

    name: str
    a: Conf
    stranger: set[str]
    b: set[str]
    node: set[str]
    cluster: Conf | None = None
    six: bool | None = None  # None: the same over IPv6; False: nothing is open there
    flag: bool = True


CASES = [
    Case("a guest without a file is open", empty(), ALL, ALL, ALL),
    Case("default drop in", on(), set(), set(), set()),
    Case("policy ACCEPT is open", on(policy_in="ACCEPT"), ALL, ALL, ALL),
    Case("disabled is open", conf(rules=[DROP]), ALL, ALL, ALL),
    Case("no flag on the interface is open", on(), ALL, ALL, ALL, flag=False),
    Case("cluster off is open", on(), ALL, ALL, ALL, cluster=conf(options={"enable": 0})),
    Case(
        "a port from everywhere",
        on({**ACCEPT, "proto": "tcp", "dport": "80,443"}),
        *[{"tcp80", "tcp443"}] * 3,
    ),
    Case("a rule that is off says nothing", on({**ACCEPT, "enable": 0}), set(), set(), set()),
    Case("a macro over both versions", on({**ACCEPT, "macro": "DNS"}), *[{"udp53"}] * 3),
    Case("a service by its name", on({**ACCEPT, "proto": "tcp", "dport": "https"}), *[{"tcp443"}] * 3),
    Case(
        "one source",
        on({**ACCEPT, "source": FOUR.format(B), "proto": "tcp", "dport": "80"}),
        *(set(), {"tcp80"}, set()),
        six=False,
    ),
    Case(
        "a range of sources",
        on({**ACCEPT, "source": "192.168.1.70-192.168.1.90"}),
        *(ALL, set(), set()),
        six=False,
    ),
    Case(
        "the first rule that matches decides",
        on({**DROP, "proto": "tcp", "dport": "22"}, {**ACCEPT, "proto": "tcp", "dport": "22:80"}),
        *[{"tcp80"}] * 3,
    ),
    Case(
        "order the other way round",
        on({**ACCEPT, "proto": "tcp", "dport": "22:80"}, {**DROP, "proto": "tcp", "dport": "22"}),
        *[{"tcp22", "tcp80"}] * 3,
    ),
    Case(
        "an IP set of the cluster, and what it does not match",
        on({**ACCEPT, "source": "+dc/friends"}),
        *(set(), ALL, ALL),
        cluster=conf(
            options={"enable": 1},
            ipset={
                "friends": [
                    {"cidr": "192.168.1.0/24"},
                    {"cidr": FOUR.format(STRANGER), "nomatch": 1},
                    {"cidr": "fd48:6561:7274::/64"},
                    {"cidr": SIX.format(STRANGER), "nomatch": 1},
                ]
            },
        ),
    ),
    Case(
        "a guest's own set hides the cluster's of that name",
        {**on({**ACCEPT, "source": "+friends"}), "ipset": {"friends": [{"cidr": FOUR.format(B)}]}},
        *(set(), ALL, set()),
        cluster=conf(options={"enable": 1}, ipset={"friends": [{"cidr": FOUR.format(STRANGER)}]}),
        six=False,
    ),
    Case(
        "dc/ means the cluster's",
        {**on({**ACCEPT, "source": "+dc/friends"}), "ipset": {"friends": [{"cidr": FOUR.format(B)}]}},
        *(ALL, set(), set()),
        cluster=conf(options={"enable": 1}, ipset={"friends": [{"cidr": FOUR.format(STRANGER)}]}),
        six=False,
    ),
    Case(
        "an alias, and an alias in a set",
        on(
            {**ACCEPT, "source": "dc/visitor", "proto": "tcp", "dport": "80"},
            {**ACCEPT, "source": "+friends", "macro": "SSH"},
        ),
        *({"tcp80"}, {"tcp22"}, set()),
        cluster=conf(
            options={"enable": 1},
            aliases={
                "visitor": {"name": "visitor", "cidr": FOUR.format(STRANGER)},
                "neighbour": {"name": "neighbour", "cidr": FOUR.format(B)},
            },
            ipset={"friends": [{"cidr": "dc/neighbour"}]},
        ),
        six=False,
    ),
    Case("a set that is gone opens nothing", on({**ACCEPT, "source": "+gone"}), set(), set(), set()),
    Case(
        "a security group, and the rules after it",
        on({**ACCEPT, "type": "group", "action": "web"}, {**ACCEPT, "macro": "SSH"}),
        *[{"tcp22", "tcp80"}] * 3,
        cluster=conf(
            options={"enable": 1},
            groups={"web": [{**DROP, "macro": "HTTPS"}, {**ACCEPT, "proto": "tcp", "dport": "80:443"}]},
        ),
    ),
    Case(
        "a group for another interface, one that is off, one that does not exist",
        on(
            {**ACCEPT, "type": "group", "action": "web", "iface": "net1"},
            {**ACCEPT, "type": "group", "action": "web", "enable": 0},
            {**ACCEPT, "type": "group", "action": "gone"},
            {**ACCEPT, "macro": "SSH", "iface": "net0"},
        ),
        *[{"tcp22"}] * 3,
        cluster=conf(options={"enable": 1}, groups={"web": [{**ACCEPT, "macro": "HTTP"}]}),
    ),
    Case(
        "the cluster's own rules are the node's, not the guest's",
        on(),
        *[set[str]()] * 3,
        cluster=conf(options={"enable": 1}, rules=[ACCEPT]),
    ),
    Case(
        "the blacklist comes before every rule",
        on(ACCEPT),
        *(set(), ALL, ALL),
        cluster=conf(
            options={"enable": 1},
            ipset={"blacklist": [{"cidr": FOUR.format(STRANGER)}, {"cidr": SIX.format(STRANGER)}]},
        ),
    ),
]


NODE_CASES = [
    ("management is open to the local network", conf(options={"enable": 1}), {}, {"tcp22", "tcp8006"}),
    ("the node's firewall is off", conf(options={"enable": 1}), {"enable": 0}, ALL),
    ("policy ACCEPT", conf(options={"enable": 1, "policy_in": "ACCEPT"}), {}, ALL),
    (
        "a rule before management",
        conf(options={"enable": 1}, rules=[{**DROP, "macro": "SSH"}]),
        {},
        {"tcp8006"},
    ),
    (
        "local_network is elsewhere",
        conf(
            options={"enable": 1}, aliases={"local_network": {"name": "local_network", "cidr": "10.0.0.0/8"}}
        ),
        {},
        set[str](),
    ),
    (
        "management names the stranger",
        conf(
            options={"enable": 1},
            aliases={"local_network": {"name": "local_network", "cidr": "10.0.0.0/8"}},
            ipset={"management": [{"cidr": FOUR.format(STRANGER)}]},
        ),
        {},
        {"tcp22", "tcp8006"},
    ),
    (
        "a rule for an interface",
        conf(
            options={"enable": 1},
            rules=[
                {**ACCEPT, "macro": "HTTP", "iface": "vmbr0"},
                {**ACCEPT, "macro": "HTTPS", "iface": "vmbr9"},
            ],
        ),
        {},
        {"tcp22", "tcp80", "tcp8006"},
    ),
]

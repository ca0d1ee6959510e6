"""The compiler of the twin's wall: nft takes every ruleset, and it holds what pve-firewall would apply."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address
from typing import Any

import pytest

from twin import packages
from twin.pve.macros import MACROS, MACROS6
from twin.wall.compiler import NOTHING, ruleset
from twin.wall.icmp import ICMP, ICMPV6
from twin.wall.sets import link_local, ranges
from twin.wall.state import Conf, Guest, Node, Port, Wall, empty

ACCEPT = {"type": "in", "action": "ACCEPT", "enable": 1}
MAC = "02:48:00:00:00:65"
PORT = Port(0, "veth101i0", MAC, ("192.168.1.101", "fd00::101"))


@pytest.fixture(scope="module", autouse=True)
def nft() -> None:
    """Have nftables on the machine."""
    packages.install()


def conf(**parts: Any) -> Conf:
    return {**empty(), **parts}


def wall(*rules: dict[str, Any], cluster: Conf | None = None, port: Port = PORT, **options: Any) -> Wall:
    """A wall around one guest with these rules."""
    file = conf(options={"enable": 1, **options}, rules=list(rules))
    node = Node("pve", empty(), (ip_address("192.168.1.185"), ip_address("fd00::185")), "192.168.1.0/24")
    return Wall(cluster or conf(options={"enable": 1}), (Guest(101, "ct", file, (port,)),), (node,))


def checked(wanted: Wall) -> str:
    """The ruleset, which nft has looked at."""
    text = ruleset(wanted)
    done = subprocess.run(
        ["/usr/sbin/nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return text


def chain(text: str, family: str, name: str) -> list[str]:
    """The rules of a chain."""
    table = text.rpartition(f"table {family} pve-firewall {{\n")[2].partition("\n}\n")[0]
    body = re.search(rf"  chain {re.escape(name)} {{\n(.*?)\n  }}", table, re.DOTALL)
    assert body is not None, f"no chain {name} in {family}"
    return [line.strip() for line in body[1].splitlines()]


# ------------------------------------------------------------------ what nft takes


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("action", ["ACCEPT", "DROP", "REJECT"])
def test_every_macro_and_icmp_type_is_taken(action: str, direction: str) -> None:
    base = {"type": direction, "action": action, "enable": 1}
    macros = [{**base, "macro": name} for name in {**MACROS, **MACROS6}]
    four = [{**base, "proto": "icmp", "icmp-type": kind} for kind in ("any", *ICMP)]
    six = [{**base, "proto": "icmpv6", "icmp-type": kind} for kind in ICMPV6]
    text = checked(wall(*macros, *four, *six))
    name = f"veth101i0-{direction.upper()}"
    assert len(chain(text, "ip", name)) > len(MACROS) + len(ICMP)
    assert len(chain(text, "ip6", name)) > len(MACROS) + len(ICMPV6)


@pytest.mark.parametrize(
    "rule",
    [
        {"proto": "tcp", "dport": "80:90,443,ssh", "sport": "1024:65535"},
        {"proto": "17", "dport": "53"},
        {"proto": "sctp", "dport": "5"},
        {"proto": "udplite", "sport": "5"},
        {"proto": "esp"},
        {"proto": "47"},
        {"proto": "icmp", "dport": "8"},
        {"source": "10.0.0.1,10.1.0.0/16", "dest": "10.0.0.1-10.0.0.9"},
        {"source": "fd00::/64,fd01::1", "proto": "ipv6-icmp"},
        {"source": "fd00::1-fd00::9"},
    ],
    ids=str,
)
def test_every_kind_of_rule_is_taken_in_its_own_version(rule: dict[str, str]) -> None:
    for kind in ("in", "out"):
        checked(wall({**ACCEPT, **rule, "type": kind}))
    text, without = ruleset(wall({**ACCEPT, **rule})), ruleset(wall())
    words = f"{rule.get('source', '')} {rule.get('proto', '')}"
    versions = (
        {"ip6"}
        if "fd" in words or "v6" in words
        else {"ip"}
        if "10." in words or "icmp" in words
        else {"ip", "ip6"}
    )
    for family in ("ip", "ip6"):
        more = len(chain(text, family, "veth101i0-IN")) - len(chain(without, family, "veth101i0-IN"))
        assert more == (family in versions)


@pytest.mark.parametrize(
    "options",
    [
        {"policy_in": "REJECT", "policy_out": "DROP", "dhcp": 0, "ndp": 0, "macfilter": 0, "radv": 1},
        {"ipfilter": 1, "policy_out": "REJECT", "log_level_in": "info", "log_level_out": "nolog"},
    ],
)
def test_every_option_is_taken(options: dict[str, Any]) -> None:
    cluster = conf(
        options={"enable": 1, "policy_in": "REJECT", "policy_out": "REJECT", "log_ratelimit": "enable=0"},
        ipset={"empty": [], "blacklist": [{"cidr": "10.9.0.0/16"}, {"cidr": "fd09::/16"}]},
    )
    found = wall(cluster=cluster, **options)
    node = Node(
        "pve", conf(options={"tcpflags": 1, "nosmurfs": 1, "ndp": 0}), found.nodes[0].addresses, "fd00::/64"
    )
    checked(Wall(found.cluster, found.guests, (node,)))


def test_an_interface_without_a_mac_and_a_guest_without_interfaces_are_taken() -> None:
    checked(wall(port=Port(0, "veth101i0", "")))
    checked(Wall(conf(options={"enable": 1}), (Guest(101, "vm", conf(options={"enable": 1}), ()),), ()))


# ------------------------------------------------------------------- what is applied


def test_off_is_nothing_at_all() -> None:
    assert ruleset(wall(cluster=conf(options={"enable": 0}))) == NOTHING
    assert ruleset(Wall()) == NOTHING
    assert ruleset(wall(cluster=conf(options={"enable": 1_700_000_000}))) != NOTHING, "a time is on"


def test_a_guest_that_is_off_has_no_chain() -> None:
    assert "veth101i0" not in ruleset(wall(enable=0))


@pytest.mark.parametrize(
    "rule",
    [
        {"enable": 0},
        {"iface": "net1"},
        {"source": "+nosuch"},
        {"source": "dc/nosuch"},
        {"macro": "NoSuch"},
        {"macro": "SSH", "proto": "tcp", "dport": "23"},
        {"source": "10.0.0.1", "proto": "icmpv6"},
        {"proto": "esp", "dport": "22"},
    ],
    ids=str,
)
def test_a_rule_that_is_off_or_wrong_changes_nothing(rule: dict[str, Any]) -> None:
    assert ruleset(wall({**ACCEPT, **rule})) == ruleset(wall())


def test_a_guests_set_of_the_clusters_name_is_not_reached_by_dc() -> None:
    cluster = conf(options={"enable": 1}, ipset={"friends": [{"cidr": "10.0.0.1"}]})
    guest = wall(
        {**ACCEPT, "source": "+friends"}, {**ACCEPT, "source": "+dc/friends"}, cluster=cluster
    ).guests[0]
    guest.conf["ipset"]["friends"] = [{"cidr": "10.0.0.2"}]
    rules = chain(checked(Wall(cluster, (guest,), ())), "ip", "veth101i0-IN")
    assert [line for line in rules if "friends" in line] == [
        "ip saddr @PVEFW-101-friends accept",
        "ip saddr @PVEFW-0-friends accept",
    ]


def test_the_local_network_is_part_of_management_and_an_alias_moves_it() -> None:
    text = checked(wall())
    assert (
        "set PVEFW-0-management { type ipv4_addr; flags interval; elements = { 192.168.1.0-192.168.1.255 }; }"
        in text
    )
    alias = {"local_network": {"name": "local_network", "cidr": "fd00::/64"}}
    moved = checked(wall(cluster=conf(options={"enable": 1}, aliases=alias)))
    assert "set PVEFW-0-management { type ipv4_addr; flags interval; }" in moved
    assert "fd00::-fd00::ffff:ffff:ffff:ffff" in moved


# ------------------------------------------------------------------------------ sets


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], []),
        ([("10.0.0.1", False), ("10.0.0.2", False)], ["10.0.0.1-10.0.0.2"]),
        ([("10.0.0.0/30", False), ("10.0.0.1", True)], ["10.0.0.0", "10.0.0.2-10.0.0.3"]),
        ([("10.0.0.0/24", True), ("10.0.0.7", False)], ["10.0.0.7"]),
        (
            [("10.0.0.0/8", False), ("10.1.0.0/16", True), ("10.1.2.0/24", False)],
            ["10.0.0.0-10.0.255.255", "10.1.2.0-10.1.2.255", "10.2.0.0-10.255.255.255"],
        ),
        ([("10.0.0.0/8", True)], []),
        ([("fd00::1", False), ("10.0.0.1", False)], ["10.0.0.1"]),
        ([("255.255.255.255", False)], ["255.255.255.255"]),
    ],
)
def test_the_most_specific_entry_of_a_set_decides(
    entries: list[tuple[str, bool]], expected: list[str]
) -> None:
    assert ranges(entries, 4) == expected
    assert ranges(reversed(entries), 4) == expected


def test_the_link_local_address_of_a_mac() -> None:
    """RFC 4291, appendix A."""
    assert link_local("34:56:78:9A:BC:DE") == "fe80::3656:78ff:fe9a:bcde"

"""IP sets as ranges: what an ipset of kind hash:net matches. Pure.

The most specific entry that holds an address decides; `nomatch` says no (ipset(8), hash:net).
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from twin.pve.firewall import entry_errors, resolve_alias
from twin.wall.state import Conf, Port

_ALIAS = re.compile(r"(?:dc/|guest/)?[A-Za-z][A-Za-z0-9_-]+")
#: Entry of a set: (network, whether it says no).
Entry = tuple[str, bool]


def entries(rows: Iterable[dict[str, Any]], cluster: Conf, conf: Conf) -> list[Entry]:
    """The entries of a stored set with aliases resolved; those with errors are left out.

    Args:
        rows: the set as stored.
        cluster: cluster.fw.
        conf: the file that the set stands in.
    """
    found = []
    for row in rows:
        cidr = str(row["cidr"])
        if _ALIAS.fullmatch(cidr):
            cidr = "" if entry_errors(row, cluster, conf) else resolve_alias(cidr, cluster, conf) or ""
        if cidr and not re.search(r"/0+$", cidr):
            found.append((cidr, bool(row.get("nomatch"))))
    return found


def ranges(wanted: Iterable[Entry], version: int) -> list[str]:
    """The addresses that a set matches, as elements of an nftables set: `a`, or `a-b`.

    Args:
        wanted: its entries, of either version.
        version: 4 or 6.
    """
    nets = [(ip_network(cidr, strict=False), no) for cidr, no in wanted]
    nets = [(net, no) for net, no in nets if net.version == version]
    edges = sorted({e for net, _ in nets for e in (_first(net), _last(net) + 1)})
    covering: list[tuple[int, bool] | None] = [None] * len(edges)
    for net, no in nets:
        at, end = bisect.bisect_left(edges, _first(net)), bisect.bisect_left(edges, _last(net) + 1)
        for slot in range(at, end):
            there = covering[slot]
            if there is None or there[0] <= net.prefixlen:
                covering[slot] = (net.prefixlen, no)
    joined: list[list[int]] = []
    for slot, cover in enumerate(covering[:-1]):
        if cover is None or cover[1]:
            continue
        if joined and joined[-1][1] == edges[slot]:
            joined[-1][1] = edges[slot + 1]
        else:
            joined.append([edges[slot], edges[slot + 1]])
    return [_range(first, end - 1, version) for first, end in joined]


def link_local(mac: str) -> str:
    """The IPv6 link-local address of a MAC address (RFC 4291, modified EUI-64)."""
    b = bytes.fromhex(mac.replace(":", ""))
    tail = bytes([b[0] ^ 2, *b[1:3], 0xFF, 0xFE, *b[3:6]])
    return str(IPv6Address(IPv6Network("fe80::/64").network_address.packed[:8] + tail))


def filter_entries(port: Port, stored: list[Entry]) -> list[Entry]:
    """What `ipfilter-netN` holds: its own entries, and what pve-firewall always adds (`compile_ipsets`).

    Args:
        port: the guest's interface.
        stored: the entries of the set of that name, if there is one.
    """
    own: list[Entry] = [(address, False) for address in port.addresses]
    linked: list[Entry] = [(link_local(port.mac), False), ("fe80::/10", True)] if port.mac else []
    return [*stored, *linked, *own]


def _first(net: Any) -> int:
    return int(net.network_address)


def _last(net: Any) -> int:
    return int(net.broadcast_address)


def _range(first: int, last: int, version: int) -> str:
    kind = IPv4Address if version == 4 else IPv6Address  # noqa: PLR2004
    return str(kind(first)) if first == last else f"{kind(first)}-{kind(last)}"


def version_of(cidr: str) -> int:
    """4 or 6."""
    return ip_address(cidr.partition("/")[0]).version

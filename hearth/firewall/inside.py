"""A guest's own wall: what its nftables lets in, from the flows (pure). Role `wall` renders it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hearth.firewall.flows import Flow
from hearth.firewall.sources import Sources, short

VERSIONS = {4: "ip", 6: "ip6"}


@dataclass(frozen=True)
class AddressSet:
    """A named set of nftables, nft(8).

    Args:
        name: unique in the table.
        version: 4 or 6.
        networks: its elements; none overlaps another.
    """

    name: str
    version: int
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """The rule's part about where a packet comes from.

    Args:
        family: "ip" or "ip6".
        within: the set that holds its source.
        without: the set that must not, where there is one.
    """

    family: str
    within: str
    without: str | None

    def __str__(self) -> str:
        but = f" {self.family} saddr != @{self.without}" if self.without else ""
        return f"{self.family} saddr @{self.within}{but}"


@dataclass(frozen=True)
class Opening:
    """Ports that answer to some addresses: one rule.

    Args:
        source: from where.
        protocol: "tcp" or "udp".
        ports: sorted numbers.
    """

    source: Match
    protocol: str
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Wall:
    """All that lets something into a guest.

    Args:
        sets: the addresses.
        openings: the ports.
        pings: who gets an answer to a ping.
    """

    sets: tuple[AddressSet, ...]
    openings: tuple[Opening, ...]
    pings: tuple[Match, ...]


def wall_of(guest: str, table: Iterable[Flow], pingers: Sources) -> Wall:
    """The wall of one guest.

    Args:
        guest: its name.
        table: the flows of all guests.
        pingers: who may ping.
    """
    mine = [flow for flow in table if flow.guest == guest]
    named = {_name(flow): flow.sources for flow in mine} | {"pingers": pingers}
    ports: dict[tuple[str, str], set[int]] = {}
    for flow in mine:
        ports.setdefault((_name(flow), flow.protocol), set()).add(flow.port)
    return Wall(
        tuple(each for name, found in sorted(named.items()) for each in _sets(name, found)),
        tuple(
            Opening(match, protocol, tuple(sorted(numbers)))
            for (name, protocol), numbers in sorted(ports.items())
            for match in _matches(name, named)
        ),
        _matches("pingers", named),
    )


def _name(flow: Flow) -> str:
    """Sources are the same for every flow of one `who`, but of "fleet" only for one `why`."""
    return f"fleet_{re.sub(r'[^A-Za-z0-9_]', '_', flow.why)}" if flow.who == "fleet" else flow.who


def _sets(name: str, found: Sources) -> Iterable[AddressSet]:
    for version in VERSIONS:
        one = found.of(version)
        if one.networks:
            yield AddressSet(f"{name}_{version}", version, tuple(map(short, one.networks)))
        if one.without:
            yield AddressSet(f"not_{name}_{version}", version, tuple(map(short, one.without)))


def _matches(name: str, named: Mapping[str, Sources]) -> tuple[Match, ...]:
    parts = {version: named[name].of(version) for version in VERSIONS}
    return tuple(
        Match(VERSIONS[version], f"{name}_{version}", f"not_{name}_{version}" if part.without else None)
        for version, part in parts.items()
        if part.networks
    )

"""Sets of addresses that a wall can compare with: networks, but for some smaller ones within them.

Two readings must agree, because the walls read differently: "in the networks and not in the exceptions"
(nftables), and "the smallest network that holds the address decides" (ipset's `nomatch`, ipset(8), hash:net).
So every exception lies strictly inside a network, and nothing smaller than an exception lies inside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import cast

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Sources:
    """Addresses from which a flow may come.

    Args:
        networks: whole networks (one address: /32, /128), IPv4 first, sorted; none overlaps another.
        without: exceptions, each strictly inside one of `networks`.
    """

    networks: tuple[Network, ...] = ()
    without: tuple[Network, ...] = ()

    def __contains__(self, address: object) -> bool:
        """Whether an address is one of them."""
        return any(address in network for network in self.networks) and not any(
            address in network for network in self.without
        )

    def __bool__(self) -> bool:
        """False where nobody is meant."""
        return bool(self.networks)

    def __str__(self) -> str:
        text = ", ".join(map(short, self.networks))
        return f"{text} without {', '.join(map(short, self.without))}" if self.without else text

    def of(self, version: int) -> Sources:
        """Those of IPv4 (4) or of IPv6 (6)."""
        return Sources(
            tuple(network for network in self.networks if network.version == version),
            tuple(network for network in self.without if network.version == version),
        )


def sources(
    wanted: Iterable[Network | Address],
    unwanted: Iterable[Network | Address] = (),
    always: Iterable[Network | Address] = (),
) -> Sources:
    """A set in its one form. Where wanted and unwanted overlap, the smaller of the two decides.

    Args:
        wanted: networks and addresses that belong to it.
        unwanted: those that do not; of two alike, this one counts.
        always: those that belong to it whatever is unwanted.
    """
    inside = {ip_network(each) for each in wanted}
    outside = {ip_network(each) for each in unwanted}
    kept = collapsed([*(each for each in inside - outside if _covered(each, outside)), *always])
    out = _minus(collapsed(outside), kept)
    networks = collapsed([*(each for each in inside if not _covered(each, out)), *kept])
    return Sources(networks, tuple(each for each in out if _covered(each, networks)))


def collapsed(given: Iterable[Network | Address]) -> tuple[Network, ...]:
    """Networks without those that lie within another, IPv4 first, sorted.

    Neighbours stay apart: an admin looks for the addresses that were written down.
    """
    found = {ip_network(each) for each in given}
    kept = [each for each in found if not _covered(each, found - {each})]
    return tuple(sorted(kept, key=lambda each: (each.version, int(each.network_address), each.prefixlen)))


def short(network: Network) -> str:
    """A network as a person writes it: one address without its /32 or /128."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _covered(network: Network, by: Iterable[Network]) -> bool:
    return any(_within(network, other) for other in by)


def _within(network: Network, other: Network) -> bool:
    # subnet_of wants two of one family, which mypy cannot see from `version`.
    return network.version == other.version and network.subnet_of(cast("IPv4Network", other))  # type: ignore[arg-type]


def _minus(networks: Iterable[Network], holes: Iterable[Network]) -> tuple[Network, ...]:
    left = list(networks)
    for hole in holes:
        left = [part for network in left for part in _cut(network, hole)]
    return collapsed(left)


def _cut(network: Network, hole: Network) -> Iterable[Network]:
    if _within(network, hole):
        return ()
    if not _within(hole, network):
        return (network,)
    return network.address_exclude(cast("IPv4Network", hole))  # type: ignore[arg-type]

"""Who counts as at home, by address. Pure.

Whoever comes in from the tailnet through the subnet router wears its address: that one counts as outside,
although it is one of the home's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from hearth.errors import HearthError
from hearth.fleet.model import Fleet
from hearth.role.certificates import fixed_addresses
from hearth.role.tailnet import SUBNET_ROUTER

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
# Nobody comes from there by a router: the guest itself, and neighbours on the same link (RFC 4291, 2.5.6).
ALWAYS = (ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("fe80::/10"))


def outside_addresses(fleet: Fleet, further: Iterable[str] = ()) -> tuple[Network, ...]:
    """What counts as outside although it is within the home's networks.

    Args:
        fleet: its subnet routers are outside.
        further: addresses and networks, from group_data.

    Raises:
        HearthError: one is none.
    """
    own = [str(address) for guest in fleet.with_role(SUBNET_ROUTER) for address in fixed_addresses(guest)]
    return _networks([*own, *further], "front_outside")


def inside_networks(fleet: Fleet, further: Iterable[str] = ()) -> tuple[Network, ...]:
    """The home's networks, loopback and the link.

    Args:
        fleet: its networks' subnets are inside.
        further: addresses and networks, from group_data.

    Raises:
        HearthError: one is none, or the fleet's networks have no subnet and nothing else is named.
    """
    subnets = [each for network in fleet.networks for each in (network.subnet, network.subnet6) if each]
    named = _networks(further, "front_inside")
    if not subnets and not named:
        raise HearthError(
            "tell who is at home from who is not",
            "no network of the fleet file has a subnet",
            "declare it there, or set front_inside in group_data/front.py",
        )
    return (*ALWAYS, *subnets, *named)


def _networks(texts: Iterable[str], where: str) -> tuple[Network, ...]:
    try:
        return tuple(dict.fromkeys(ip_network(text) for text in texts))
    except ValueError as error:
        raise HearthError(f"read {where} of group_data/front.py", str(error)) from None

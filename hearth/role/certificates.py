"""Which guests get a certificate, and for which names and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hearth.fleet.model import Fleet, Guest
from hearth.role.declaration import Role
from hearth.role.tailnet import certificate_names

FRONT_DOOR = "front_door"
AUTHORITY = "/usr/local/share/ca-certificates/hearth.crt"  # the fleet's, on every guest: role base brings it


@dataclass(frozen=True)
class Names:
    """What a certificate is for.

    Args:
        names: DNS names, the guest's own first.
        addresses: IP addresses that clients type.
    """

    names: tuple[str, ...]
    addresses: tuple[IPv4Address | IPv6Address, ...]


def certificate_for(guest: Guest, fleet: Fleet, roles: Mapping[str, Role]) -> Names | None:
    """The names and addresses of a guest's certificate; None where none of its roles serves TLS.

    A guest that serves the LAN over TLS is also reached through the front door, under that guest's names and
    addresses. In a tailnet each is also reached by its MagicDNS name.
    """
    own = [roles[name] for name in guest.roles if name in roles]
    if not any(role.needs_certificate for role in own):
        return None
    reached = [guest]
    if any(port.tls and port.audience == "lan" for role in own for port in role.provides):
        reached += [door for door in fleet.with_role(FRONT_DOOR) if door.name != guest.name]
    names = [name for each in reached for name in (*host_names(each, fleet), *certificate_names(each, fleet))]
    addresses = [address for each in reached for address in fixed_addresses(each)]
    return Names(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(addresses)))


def host_names(guest: Guest, fleet: Fleet) -> tuple[str, ...]:
    """The guest's name, and its name in its network's domain where that has one."""
    domain = fleet.network(guest.network).domain if guest.network else None
    return (guest.name, f"{guest.name}.{domain}") if domain else (guest.name,)


def fixed_addresses(guest: Guest) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses that stand in the fleet file; none where DHCP or the router gives them."""
    found: list[IPv4Address | IPv6Address] = []
    if isinstance(guest.address, IPv4Address):
        found.append(guest.address)
    if isinstance(guest.address6, IPv6Address):
        found.append(guest.address6)
    return tuple(found)

"""What HAProxy serves on a guest: its own web interfaces, and on the front door's guest every door port.

Pure: from the fleet and what its roles provide. Role `front` renders it; firewall and checks may read it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.role.certificates import FRONT_DOOR, fixed_addresses
from hearth.role.declaration import Port, Role

ENTRANCE = 20_000  # the door comes to this plus a port's number, everybody else to the number itself
HIGHEST = 65_535
Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Web:
    """A port that HAProxy serves with TLS for a program on loopback.

    Args:
        name: `role.port`.
        port: its declaration; `behind` is where the program listens.
        doors: the addresses that may come to the entrance; empty where there is none.
    """

    name: str
    port: Port
    doors: tuple[Address, ...] = ()

    @property
    def entrance(self) -> int | None:
        """The port for the front door alone, which speaks the PROXY protocol there; None: no door leads here.

        A port of its own, because who else runs on the door's guest comes from the same address without it.
        """
        return self.port.number + ENTRANCE if self.doors else None


@dataclass(frozen=True)
class Server:
    """Where a door leads: a guest's name, one of its addresses, and a port there."""

    name: str
    address: Address
    port: int

    def __str__(self) -> str:
        six = isinstance(self.address, IPv6Address)
        return f"[{self.address}]:{self.port}" if six else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Passage:
    """A port of the front door, passed on as it comes.

    Args:
        name: `role.port`.
        port: its declaration.
        servers: the guests that serve it, in the fleet's order: the first is the primary.
    """

    name: str
    port: Port
    servers: tuple[Server, ...]

    @property
    def proxied(self) -> bool:
        """True where the other end is a HAProxy, which is told the client's address (PROXY protocol)."""
        return self.port.behind is not None


def webs(guest: Guest, fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Web, ...]:
    """The web interfaces of a guest, in its roles' order.

    Raises:
        HearthError: two of its ports have one number, or a door to it has no fixed address.
    """
    found = tuple(
        Web(f"{name}.{port.name}", port, _doors(guest, fleet) if port.door else ())
        for name in guest.roles
        if name in roles
        for port in roles[name].provides
        if port.behind is not None
    )
    _check_numbers(guest, _own_numbers(guest, roles), found)
    return found


def passages(guest: Guest, fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Passage, ...]:
    """What a guest passes on as the front door; nothing where it is not, or where it serves the port itself.

    Raises:
        HearthError: a number is taken on this guest, or by two roles; a guest has no fixed address.
    """
    if FRONT_DOOR not in guest.roles:
        return ()
    found = tuple(
        Passage(f"{name}.{port.name}", port, _servers(fleet.with_role(name), port))
        for name, role in roles.items()
        if name not in guest.roles and fleet.with_role(name)
        for port in role.provides
        if port.door
    )
    taken = _own_numbers(guest, roles)
    for passage in found:
        number = passage.port.number
        if number in taken:
            raise HearthError(
                f"open {guest.name}, the front door, on {number} for {passage.name}",
                f"{taken[number]} has that port there",
                "change one of the numbers, or move the role",
            )
        taken[number] = passage.name
    return found


def shareable(fleet: Fleet, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """The door ports, as `role.port`, that several guests can serve at once without anybody's word.

    Those of roles that keep no state, where all guests with the role come from one entry of the fleet file
    with `count`: they are alike, and none knows what another one does not. Two brokers are not.
    """
    found = []
    for name, role in roles.items():
        guests = fleet.with_role(name)
        groups = {guest.group for guest in guests}
        if len(guests) > 1 and len(groups) == 1 and None not in groups and not role.state:
            found += [f"{name}.{port.name}" for port in role.provides if port.door]
    return tuple(found)


def _own_numbers(guest: Guest, roles: Mapping[str, Role]) -> dict[int, str]:
    return {
        port.number: f"{name}.{port.name}"
        for name in guest.roles
        if name in roles
        for port in roles[name].provides
        if port.protocol == "tcp"
    }


def _check_numbers(guest: Guest, own: Mapping[int, str], found: Iterable[Web]) -> None:
    taken = dict(own)
    for web in found:
        if own[web.port.number] != web.name:
            _clash(guest, web.name, web.port.number, own[web.port.number])
        for number in (web.port.behind, web.entrance):
            if number is None:
                continue
            if number > HIGHEST or number in taken:
                _clash(guest, web.name, number, taken.get(number, "no TCP port is that high"))
            taken[number] = web.name


def _clash(guest: Guest, name: str, number: int, other: str) -> None:
    raise HearthError(f"serve {name} on {guest.name}", f"port {number}: {other}", "change one of the numbers")


def _doors(guest: Guest, fleet: Fleet) -> tuple[Address, ...]:
    others = [door for door in fleet.with_role(FRONT_DOOR) if door.name != guest.name]
    return tuple(address for door in others for address in _addresses(door))


def _servers(guests: Iterable[Guest], port: Port) -> tuple[Server, ...]:
    number = port.number if port.behind is None else port.number + ENTRANCE
    return tuple(Server(guest.name, _addresses(guest)[0], number) for guest in guests)


def _addresses(guest: Guest) -> tuple[Address, ...]:
    found = fixed_addresses(guest)
    if not found:
        raise HearthError(
            f"lead the front door to {guest.name}",
            "it has no fixed address",
            "give it an address in the fleet file",
        )
    return found

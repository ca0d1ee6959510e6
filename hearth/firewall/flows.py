"""Which ports of which guests answer to whom: pure, from the fleet and what its roles provide and need.

Everything that is not in this table is refused. ICMP and IPv6's neighbour discovery are no ports: whoever may
reach a port of the LAN or of management may also ping (`pingers`), and neighbours always find each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from hearth.errors import HearthError
from hearth.firewall.settings import Settings
from hearth.firewall.sources import Address, Network, Sources, sources
from hearth.fleet.model import Fleet, Guest
from hearth.role.certificates import FRONT_DOOR, fixed_addresses
from hearth.role.declaration import Port, Role
from hearth.role.fronted import passages, webs
from hearth.role.watched import MONITORING

HTTP = 80
OPEN = "firewall_open"
Who = Literal["management", "lan", "fleet", "monitoring", "iot", "outside", "door", "world"]


@dataclass(frozen=True, order=True)
class Flow:
    """A port of a guest that answers to some addresses.

    Args:
        guest: the guest's name.
        port: TCP or UDP port.
        protocol: "tcp" or "udp".
        who: what the sources are. "management": from where the admin works. "lan": everybody in the home but
            IoT devices. "fleet": guests that need the port. "monitoring": guests that watch all others.
            "iot": devices that reach brokers only.
            "outside": whoever comes through the subnet router. "door": the front door's guest.
            "world": anybody.
        why: "role.port"; "front.redirect" for port 80; "firewall_open" for what the admin opens besides.
        sources: the addresses. The same for every flow of one `who`, but "fleet": there for one `why`.
    """

    guest: str
    port: int
    protocol: str
    who: Who
    why: str
    sources: Sources = field(compare=False)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "guest": self.guest,
            "port": self.port,
            "protocol": self.protocol,
            "who": self.who,
            "why": self.why,
            "networks": [str(network) for network in self.sources.networks],
            "without": [str(network) for network in self.sources.without],
        }


def flows(fleet: Fleet, roles: Mapping[str, Role], settings: Settings) -> tuple[Flow, ...]:
    """The whole table, sorted.

    Raises:
        HearthError: a guest that needs a port, or the front door, has no fixed address; a number is taken; a
            port is opened for what is no guest and no role.
    """
    _check_opened(fleet, roles, settings)
    table = _Table(fleet, roles, settings)
    found = {flow for guest in fleet.guests if not guest.appliance for flow in table.of(guest)}
    return tuple(sorted(found))


def _check_opened(fleet: Fleet, roles: Mapping[str, Role], settings: Settings) -> None:
    known = {*roles, *(guest.name for guest in fleet.guests)}
    for opened in settings.opened:
        if opened.where not in known:
            reason = f"{opened.where!r} is no guest of the fleet and no role"
            raise HearthError(f"use {OPEN}", reason, "mend its name in group_data")


def lan(fleet: Fleet, settings: Settings) -> Sources:
    """The fleet's networks and all guests, without IoT devices and whoever comes from outside."""
    guests = (
        address
        for guest in fleet.guests
        if not guest.appliance  # a camera that is a guest may well be one of the IoT devices
        for address in fixed_addresses(guest)
    )
    return sources([*_networks(fleet), *settings.lan, *guests], _strangers(settings))


def management(fleet: Fleet, settings: Settings) -> Sources:
    """From where the admin works: what the settings name, else the fleet's networks; and this machine."""
    named = settings.management or (*_networks(fleet), *settings.lan)
    return sources(named, _strangers(settings), settings.own)


def pingers(fleet: Fleet, settings: Settings) -> Sources:
    """Who gets an answer to a ping: the LAN and management."""
    both = lan(fleet, settings), management(fleet, settings)
    without = {each for one in both for each in one.without}
    return sources((each for one in both for each in one.networks), without)


def _networks(fleet: Fleet) -> list[Network]:
    return [net for each in fleet.networks for net in (each.subnet, each.subnet6) if net is not None]


def _strangers(settings: Settings) -> tuple[Network, ...]:
    return (*settings.iot, *settings.outside)


class _Table:
    """The flows of one guest after the other; what is the same for all is worked out once."""

    def __init__(self, fleet: Fleet, roles: Mapping[str, Role], settings: Settings) -> None:
        self.fleet, self.roles, self.settings = fleet, roles, settings
        self.lan = lan(fleet, settings)
        self.classes: dict[str, Sources] = {
            "lan": self.lan,
            "management": management(fleet, settings),
            "iot": sources(settings.iot),
            "outside": sources(settings.outside),
            "monitoring": sources(
                address
                for watcher in fleet.with_role(MONITORING)
                for address in _fixed(watcher, "what is watched")
            ),
            "world": sources((IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))),
            "door": sources(
                address for door in fleet.with_role(FRONT_DOOR) for address in fixed_addresses(door)
            ),
        }

    def of(self, guest: Guest) -> Iterator[Flow]:
        """The flows of a guest: its roles' ports, the door's passages, entrances, the redirect."""
        own = {name: self.roles[name] for name in guest.roles if name in self.roles}
        for name, role in own.items():
            for port in role.provides:
                yield from self._served(guest, port, f"{name}.{port.name}")
        for passage in passages(guest, self.fleet, self.roles):
            yield from self._served(guest, passage.port, passage.name, at_door=True)
        for web in webs(guest, self.fleet, self.roles):
            if web.entrance is not None:
                yield self._flow(guest, web.entrance, "tcp", "door", web.name)
        yield from self._redirect(guest, own)
        for opened in self.settings.opened:
            if opened.where in (guest.name, *guest.roles):
                flow = self._flow(guest, opened.port, opened.protocol, opened.who, OPEN)
                if flow.sources:
                    yield flow

    def _served(self, guest: Guest, port: Port, why: str, at_door: bool = False) -> Iterator[Flow]:
        for who in self._audience(guest, port, why, at_door):
            flow = self._flow(guest, port.number, port.protocol, who, why)
            if flow.sources:
                yield flow

    def _audience(self, guest: Guest, port: Port, why: str, at_door: bool) -> Iterator[Who]:
        if port.audience == "host":
            return
        yield port.audience
        if port.audience == "management" and self._from_elsewhere(why):
            yield "fleet"
        if port.devices:
            yield "iot"
        watched = port.protocol == "tcp" and port.audience != "monitoring"
        if watched and not self._reaches(self.classes["monitoring"], port, why):
            yield "monitoring"
        doors = self.fleet.with_role(FRONT_DOOR)
        if port.door and port.tls and (at_door or not doors or guest in doors):
            yield "outside"
        led_here = port.door and port.behind is None and not at_door and guest not in doors
        if led_here and not self._reaches(self.classes["door"], port, why):
            yield "door"

    def _from_elsewhere(self, why: str) -> bool:
        """True where a guest needs a port of management's and is not where the admin works from."""
        needed = self._needers(why).networks
        return any(network.network_address not in self.classes["management"] for network in needed)

    def _reaches(self, who: Sources, port: Port, why: str) -> bool:
        """True where the port's own audience holds these addresses already."""
        audience = self._sources(port.audience, why)
        return all(network.network_address in audience for network in who.networks)

    def _flow(self, guest: Guest, port: int, protocol: str, who: Who, why: str) -> Flow:
        return Flow(guest.name, port, protocol, who, why, self._sources(who, why))

    def _sources(self, who: str, why: str) -> Sources:
        return self._needers(why) if who == "fleet" else self.classes[who]

    def _needers(self, why: str) -> Sources:
        """The guests that use a port: their roles need it, or they have the role too (a replica, a peer).

        Having `base` too makes nobody a peer of its SSH: that is so for ports of the fleet's only.

        Raises:
            HearthError: one of them has no fixed address.
        """
        role, _, port = why.partition(".")
        providers = self.fleet.with_role(role)
        users = [
            guest
            for guest in self.fleet.guests
            if any((need.role, need.port) == (role, port) for need in self._needs(guest))
        ]
        peers = providers if len(providers) > 1 and self._for_fleet(role, port) else ()
        meant = tuple(dict.fromkeys((*users, *peers)))
        if meant == providers and len(providers) == 1:
            return sources(())  # it only serves itself, on loopback
        return sources(address for guest in meant for address in _fixed(guest, why))

    def _for_fleet(self, role: str, port: str) -> bool:
        return any(each.name == port and each.audience == "fleet" for each in self.roles[role].provides)

    def _needs(self, guest: Guest) -> Iterable[Any]:
        return (need for name in guest.roles if name in self.roles for need in self.roles[name].needs)

    def _redirect(self, guest: Guest, own: Mapping[str, Role]) -> Iterator[Flow]:
        wanted = (self.settings.redirects or {}).get(guest.name)
        if wanted is None:
            return
        name, _, port = wanted.partition(".")
        found = [each for each in (own[name].provides if name in own else ()) if each.name == port]
        for each in found:  # role front refuses what it does not find
            if each.audience != "host":
                yield Flow(
                    guest.name,
                    HTTP,
                    "tcp",
                    each.audience,
                    "front.redirect",
                    self._sources(each.audience, wanted),
                )


def _fixed(guest: Guest, why: str) -> tuple[Address, ...]:
    found = fixed_addresses(guest)
    if not found:
        raise HearthError(
            f"open {why} to {guest.name}",
            "it needs that port, and has no fixed address",
            "give it an address in the fleet file",
        )
    return found

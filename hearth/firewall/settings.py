"""Whom the admin counts as what: the values `firewall_*` of group_data, read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Literal, cast, get_args

from hearth.errors import HearthError
from hearth.firewall.sources import Address, Network, collapsed
from hearth.fleet.model import Fleet, Guest
from hearth.role.certificates import fixed_addresses
from hearth.role.tailnet import SUBNET_ROUTER

OpenTo = Literal["lan", "management", "iot", "world"]
OPENED = re.compile(r"(?P<port>\d{1,5})/(?P<protocol>tcp|udp) from (?P<who>\w+)")
HIGHEST = 65_535
LEVELS = ("nolog", "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


@dataclass(frozen=True)
class Opened:
    """A port that the admin opens besides what roles declare: of a program of one's own.

    Args:
        where: a guest's name, or a role's.
        port: its number.
        protocol: "tcp" or "udp".
        who: "lan", "management", "iot" or "world".
    """

    where: str
    port: int
    protocol: str
    who: OpenTo


@dataclass(frozen=True)
class Settings:
    """What the flows take besides the fleet and its roles.

    Args:
        management: from where the admin works; empty: from anywhere in the LAN.
        own: the control machine's addresses, which belong to management whatever else is said.
        lan: networks that count as the LAN besides the fleet's own.
        iot: devices that reach the brokers and nothing else.
        outside: addresses that whoever comes from outside wears (the subnet router's).
        redirects: guest -> "role.port", where plain HTTP on port 80 is redirected.
        opened: ports that no role declares.
    """

    management: tuple[Network, ...] = ()
    own: tuple[Network, ...] = ()
    lan: tuple[Network, ...] = ()
    iot: tuple[Network, ...] = ()
    outside: tuple[Network, ...] = ()
    redirects: Mapping[str, str] | None = None
    opened: tuple[Opened, ...] = ()


def read_settings(values: Mapping[str, Any], fleet: Fleet, own: Iterable[Address] = ()) -> Settings:
    """The settings of group_data.

    Args:
        values: of group_data (`hearth.values.tuned`).
        fleet: the fleet; names of its networks and guests may stand for their addresses.
        own: the control machine's addresses (`hearth.path.addresses_towards`).

    Raises:
        HearthError: a value is no list, or something in it is no address, network, or name of the fleet.
    """

    def networks(name: str) -> tuple[Network, ...]:
        return _networks(f"firewall_{name}", values.get(f"firewall_{name}", []), fleet)

    # Whoever comes through a subnet router wears its address (SNAT).
    routers = fleet.with_role(SUBNET_ROUTER)
    redirects = values.get("front_redirect") or {}
    return Settings(
        management=networks("management"),
        own=collapsed(own),
        lan=networks("lan"),
        iot=networks("iot"),
        outside=collapsed((*networks("outside"), *_addresses("firewall_outside", routers))),
        redirects=dict(redirects),
        opened=tuple(_opened(values.get("firewall_open", {}))),
    )


def _opened(given: Any) -> Iterator[Opened]:
    """What `firewall_open` says.

    Raises:
        HearthError: it is no mapping of lists, or something in it opens no port.
    """
    action, right = "use firewall_open", 'e.g. {"home-assistant": ["21064/tcp from lan"]}'
    if not isinstance(given, Mapping):
        raise HearthError(action, f"it is {given!r}, not a mapping", right)
    for where, entries in given.items():
        for entry in entries if isinstance(entries, list | tuple) else (entries,):
            found = OPENED.fullmatch(str(entry))
            if not found or found["who"] not in get_args(OpenTo) or not 0 < int(found["port"]) <= HIGHEST:
                raise HearthError(action, f"{entry!r} for {where} opens no port", right)
            yield Opened(str(where), int(found["port"]), found["protocol"], cast("OpenTo", found["who"]))


def log_level(values: Mapping[str, Any]) -> str:
    """How loudly what is refused is logged (`firewall_log_level`).

    Raises:
        HearthError: it is no level of Proxmox's.
    """
    found = values.get("firewall_log_level", "nolog")
    if found not in LEVELS:
        raise HearthError("use firewall_log_level", f"it is {found!r}", f"use one of {', '.join(LEVELS)}")
    return str(found)


def _networks(name: str, given: Any, fleet: Fleet) -> tuple[Network, ...]:
    if not isinstance(given, list | tuple):
        raise HearthError(f"use {name}", f"it is {given!r}, not a list", 'e.g. ["192.168.1.10"]')
    return collapsed(each for word in given for each in _meant(name, str(word), fleet))


def _meant(name: str, word: str, fleet: Fleet) -> Iterable[Network | Address]:
    """What an entry stands for: a network of the fleet, a guest, an address, a network."""
    for network in fleet.networks:
        if network.name == word:
            return [subnet for subnet in (network.subnet, network.subnet6) if subnet is not None]
    for guest in fleet.guests:
        if guest.name == word:
            return _addresses(name, [guest])
    try:
        return [ip_network(word) if "/" in word else ip_address(word)]
    except ValueError as error:
        reason = f"{word!r} is no address, no network, and no guest or network of the fleet"
        raise HearthError(f"use {name}", reason, f"{error}") from None


def _addresses(name: str, guests: Iterable[Guest]) -> tuple[Address, ...]:
    found: list[Address] = []
    for guest in guests:
        own = fixed_addresses(guest)
        if not own:
            raise HearthError(
                f"use {name}", f"guest {guest.name} has no fixed address", "give it one in the fleet file"
            )
        found += own
    return tuple(found)

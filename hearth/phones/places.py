"""Where a phone finds the home: names and addresses, at home and over the tailnet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.role.certificates import FRONT_DOOR, fixed_addresses, host_names
from hearth.role.declaration import Port, Role
from hearth.role.tailnet import tailnet_name

HOME_ASSISTANT, BROKER = "home_assistant.web", "mosquitto.mqtts"
# The app for phones opens such links, and asks for a login (home-assistant/android#5425). The part behind `#`
# is not sent to anybody: a phone without the app shows a page of the project's own.
INVITE = "https://my.home-assistant.io/invite#url={url}"


@dataclass(frozen=True)
class Service:
    """Something a phone may use.

    Args:
        name: `role.port`.
        number: TCP port, TLS.
        web: whether it speaks HTTPS.
        lan: addresses and names at home, and through the subnet router; the best first.
        tailnet: names in the tailnet.
    """

    name: str
    number: int
    web: bool
    lan: tuple[str, ...]
    tailnet: tuple[str, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Ways to it, best first: URLs of what is on the web, else `host:port`."""
        scheme = "https://" if self.web else ""
        return tuple(f"{scheme}{_written(host)}:{self.number}" for host in (*self.lan, *self.tailnet))


@dataclass(frozen=True)
class Places:
    """All of them, by name."""

    services: Mapping[str, Service]

    @property
    def home_assistant(self) -> Service | None:
        """Home Assistant, where the fleet has it."""
        return self.services.get(HOME_ASSISTANT)

    @property
    def broker(self) -> Service | None:
        """The MQTT broker, where the fleet has one."""
        return self.services.get(BROKER)

    @property
    def invitation(self) -> str | None:
        """The link that opens Home Assistant's app with its address."""
        there = self.home_assistant
        return INVITE.format(url=quote(there.addresses[0], safe="")) if there else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host, each once."""
        found = [host for each in self.services.values() for host in (*each.lan, *each.tailnet)]
        return tuple(dict.fromkeys(found))


def places(fleet: Fleet, roles: Mapping[str, Role]) -> Places:
    """Where a phone finds what it may use: every TLS port for the LAN, by the front door where there is one.

    Args:
        fleet: the guests.
        roles: the catalogue.

    Raises:
        HearthError: nothing of the fleet can be reached.
    """
    services = [
        _service(f"{name}.{port.name}", port, _guests(fleet, name, port), fleet)
        for name, role in roles.items()
        for port in role.provides
        if port.tls and port.audience == "lan" and fleet.with_role(name)
    ]
    reached = {each.name: each for each in services if each.lan or each.tailnet}
    if not reached:
        raise HearthError(
            "say where a phone finds the home",
            "no guest serves TLS to the LAN at an address or under a name",
            "give a guest the role home_assistant or mosquitto",
        )
    return Places(reached)


def _guests(fleet: Fleet, role: str, port: Port) -> Sequence[Guest]:
    doors = fleet.with_role(FRONT_DOOR) if port.door else ()
    return doors or fleet.with_role(role)


def _service(name: str, port: Port, guests: Sequence[Guest], fleet: Fleet) -> Service:
    fixed = [str(address) for guest in guests for address in _of_a_guest(guest)]
    # A phone is in nobody's search domain: the bare name would lead nowhere.
    named = [name for guest in guests for name in host_names(guest, fleet) if "." in name]
    tailnet = tuple(found for guest in guests if (found := tailnet_name(guest, fleet)))
    return Service(name, port.number, port.behind is not None, (*fixed, *named), tailnet)


def _of_a_guest(guest: Guest) -> list[IPv4Address | IPv6Address]:
    """Its IPv4 address; Android has no way to pin an IPv6 address, so it is for guests that have no other."""
    found = fixed_addresses(guest)
    return [address for address in found if address.version == 4] or list(found)  # noqa: PLR2004


def _written(host: str) -> str:
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host

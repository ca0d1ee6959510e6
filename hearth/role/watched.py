"""What Prometheus asks and probes, derived from the fleet and what its roles provide (pure).

Role `monitoring` renders it. A new guest, role or port is in it without a further word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hearth.fleet.model import Fleet
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Metrics, Port, Role
from hearth.role.fronted import passages
from hearth.role.served import Served, served

MONITORING = "monitoring"
TEXTFILES = "/var/lib/prometheus/node-exporter"  # Debian's place: what any program of a guest writes for it
# How a port's health is probed from another guest. What is not here takes a login or a protocol of its own:
# that its port accepts is watched, and its own exporter says more.
MODULES = {"http": "http", "tls": "tls", "tcp": "tcp", "mqtt": "tcp", "postgres": "tcp"}


@dataclass(frozen=True)
class Scrape:
    """A port that tells Prometheus something.

    Args:
        guest, role: whose it is.
        port: its declaration.
        metrics: what it says of them.
    """

    guest: str
    role: str
    port: Port
    metrics: Metrics

    @property
    def target(self) -> str:
        """Where it is asked: by name, which its certificate holds for."""
        return f"{self.guest}:{self.port.number}"

    @property
    def job(self) -> str:
        """Its job's name: the same for every guest with the role."""
        return f"{self.role}.{self.port.name}"


@dataclass(frozen=True)
class Probe:
    """Something that is tried from outside.

    Args:
        module: the blackbox exporter's: "http", "https", "tls", "tcp" or "ping".
        target: what is tried.
        guest: whose it is.
        service: `role.port`; "ping" for the guest itself.
        way: "lan", "door" (through the front door) or "tailnet".
    """

    module: str
    target: str
    guest: str
    service: str
    way: str = "lan"


def scrapes(fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Scrape, ...]:
    """Every port with metrics that another guest may reach, in the file's order."""
    return tuple(
        Scrape(each.guest.name, each.role.name, each.port, each.port.metrics)
        for each in served(fleet, roles)
        if each.port.metrics is not None and each.port.audience != "host"
    )


def probes(fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Probe, ...]:
    """Every TCP port that another guest may reach, the front door's passages, and every guest and node."""
    ports = (_probe(each) for each in served(fleet, roles) if _probed(each))
    return (*ports, *_at_door(fleet, roles), *_pings(fleet))


def _probed(each: Served) -> bool:
    return each.port.protocol == "tcp" and each.port.audience != "host"


def _probe(each: Served) -> Probe:
    return _port_probe(each.guest.name, each.guest.name, f"{each.role.name}.{each.port.name}", each.port)


def _port_probe(at: str, guest: str, service: str, port: Port, way: str = "lan") -> Probe:
    health = port.health or ("tls" if port.tls else "tcp")
    module = MODULES.get(health, "tcp")
    if module == "tcp" and port.tls and health == "mqtt":
        module = "tls"
    if module == "http":
        scheme = "https" if port.tls else "http"
        return Probe(scheme, f"{scheme}://{at}:{port.number}{port.path}", guest, service, way)
    return Probe(module, f"{at}:{port.number}", guest, service, way)


def _at_door(fleet: Fleet, roles: Mapping[str, Role]) -> Iterator[Probe]:
    """What a phone uses: the same ports at the front door."""
    for door in fleet.guests:
        for passage in passages(door, fleet, roles):
            yield _port_probe(door.name, door.name, passage.name, passage.port, "door")


def _pings(fleet: Fleet) -> Iterator[Probe]:
    for guest in fleet.guests:
        for address in fixed_addresses(guest)[:1]:
            yield Probe("ping", str(address), guest.name, "ping")
    for node in fleet.nodes:
        yield Probe("ping", str(node.address), node.name, "ping")

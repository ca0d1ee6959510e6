"""What the twin takes from the fleet file: the node, its networks, the addresses that stand for the home.

Never the guests' settings: what a guest is, the twin learns from the API alone. So Hearth's mistakes show.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hearth.errors import HearthError
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet, Network
from hearth.role.catalogue import load_roles

PROJECT = Path(__file__).resolve().parent.parent


class HomeNode(BaseModel):
    """A node of the fleet."""

    name: str
    address: str
    storage: str
    images: str
    ssh_port: int = 22


class Segment(BaseModel):
    """A bridge (or a VLAN of one) and the addresses that the twin's node has on it, each with its prefix
    length."""

    bridge: str
    addresses: list[str]
    proxy: str | None = None  # where guests of this segment find the way out


class Home(BaseModel):
    """All of it; kept in the state directory while the twin is up."""

    fleet: str
    nodes: list[HomeNode]
    segments: list[Segment]
    subnets: list[str]
    known: list[str]  # addresses that are never reached through the proxy
    images: list[str]  # file names of the fleet's images
    own6: list[str] = []  # IPv6 addresses of the node itself, not of the home's router
    tailnet: bool = False  # guests fetch headscale and Tailscale
    node_tailnet: bool = False  # the node itself asks for the tailnet
    backups: list[str] = []  # the storages that its backup jobs name
    brokers: list[str] = []  # addresses at which an MQTT device is told to look for its broker, best first


def fleet_file() -> Path:
    """The fleet file.

    HEARTH_FLEET (from the current directory, else from the project), or inventory/fleet.yaml.
    """
    named = Path(os.environ.get("HEARTH_FLEET", "inventory/fleet.yaml"))
    return next((path for path in (Path.cwd() / named, PROJECT / named) if path.exists()), PROJECT / named)


def read_home(path: Path) -> Home:
    """Read the fleet file.

    Raises:
        FleetError: it has mistakes.
        HearthError: it describes what a twin cannot be.
    """
    return home_of(load_fleet(path, load_roles(PROJECT / "roles")), str(path.resolve()))


def home_of(fleet: Fleet, path: str) -> Home:
    """What the twin needs to know of a fleet."""
    subnets = [subnet for net in fleet.networks for subnet in (net.subnet, net.subnet6) if subnet]
    for subnet in subnets:
        if not (
            subnet.is_private or subnet in ip_network("100.64.0.0/10")
            if isinstance(subnet, IPv4Network)
            else True
        ):
            raise HearthError(f"be a twin of the network {subnet}", "its addresses are not private ones")
    guests = [
        str(a) for g in fleet.guests for a in (g.address, g.address6) if a not in (None, "dhcp", "auto")
    ]
    nodes = [
        HomeNode(name=n.name, address=str(n.address), storage=n.storage, images=n.images, ssh_port=n.ssh.port)
        for n in fleet.nodes
    ]
    segments = [_segment(net, fleet) for net in fleet.networks]
    segments += [Segment(bridge=net.bridge, addresses=[]) for net in fleet.networks]
    own = [str(ip_interface(address).ip) for segment in segments for address in segment.addresses]
    return Home(
        fleet=path,
        nodes=nodes,
        segments=_one_per_bridge(segments),
        subnets=[str(subnet) for subnet in subnets],
        known=sorted({*guests, *own, *(node.address for node in nodes)}),
        images=[image.filename for image in fleet.images],
        own6=[str(_own6(net, fleet)) for net in fleet.networks if net.subnet6],
        tailnet=fleet.tailnet is not None,
        node_tailnet=any(node.tailnet for node in fleet.nodes),
        backups=sorted({job.storage for job in fleet.backup.jobs}) if fleet.backup else [],
        brokers=_brokers(fleet),
    )


def _brokers(fleet: Fleet) -> list[str]:
    """The front door's address, then the brokers' own."""
    if not any("mosquitto" in guest.roles for guest in fleet.guests):
        return []
    roles = ("front_door", "mosquitto")
    found = [str(g.address) for role in roles for g in fleet.guests if role in g.roles]
    return [address for address in dict.fromkeys(found) if address not in ("None", "dhcp")]


def vlan_bridge(bridge: str, vlan: int | None) -> str:
    """The bridge that carries a VLAN: `vmbr0v20`, as Proxmox names it where the bridge itself knows no VLANs.

    Source: `activate_bridge_vlan` in PVE/Network.pm. (Kernels without VLAN filtering exist; separate bridges
        always work.)
    """
    return f"{bridge}v{vlan}" if vlan else bridge


def _segment(net: Network, fleet: Fleet) -> Segment:
    """The node's own addresses, and the router's: nobody else plays the home's router."""
    addresses: list[str] = []
    if net.subnet:
        addresses += [f"{n.address}/{net.subnet.prefixlen}" for n in fleet.nodes if n.address in net.subnet]
        addresses += [f"{net.gateway}/{net.subnet.prefixlen}"] if net.gateway else []
    if net.subnet6:
        router = [net.gateway6] if net.gateway6 else []
        addresses += [f"{address}/{net.subnet6.prefixlen}" for address in [*router, _own6(net, fleet)]]
    addresses = list(dict.fromkeys(addresses))
    proxy = next((str(ip_interface(a).ip) for a in reversed(addresses) if ":" not in a), None)
    return Segment(bridge=vlan_bridge(net.bridge, net.vlan), addresses=addresses, proxy=proxy)


def _own6(net: Network, fleet: Fleet) -> IPv6Address:
    """The fleet names no IPv6 address of a node: it gets one that nobody has."""
    assert net.subnet6 is not None
    taken = {guest.address6 for guest in fleet.guests}
    return next(a for a in (net.subnet6[n] for n in range(0xFE00, 0xFFFF)) if a not in taken)


def _one_per_bridge(segments: list[Segment]) -> list[Segment]:
    merged: dict[str, Segment] = {}
    for segment in segments:
        there = merged.setdefault(
            segment.bridge, Segment(bridge=segment.bridge, addresses=[], proxy=segment.proxy)
        )
        there.addresses += [a for a in segment.addresses if a not in there.addresses]
        there.proxy = there.proxy or segment.proxy
    return list(merged.values())


def dump(home: Home) -> dict[str, Any]:
    """A home as JSON keeps it."""
    return home.model_dump()

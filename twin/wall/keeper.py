"""Keeps the wall what the API stores: compiled anew after every write, and as time passes."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

from hearth.errors import HearthError
from twin.commands import run
from twin.home import Home, HomeNode
from twin.namespace import PROXY_PORT
from twin.real.lxcconf import veth_name
from twin.real.spec import Nic, Spec, container, machine
from twin.wall import compiler
from twin.wall.state import Conf, Guest, Node, Port, Wall, empty


class Keeper:
    """Applies the ruleset of a fake's stored firewall, where it changed.

    Args:
        pve: the running fake.
        home: its nodes and networks.
    """

    def __init__(self, pve: Any, home: Home) -> None:
        self.pve = pve
        self.home = home
        self.problem: str | None = None
        self._wall = Wall()
        self._tried = ""

    def sync(self) -> None:
        """Bring the twin's network to what is stored.

        What cannot be compiled, or nft refuses, leaves the old rules, as on a node.
        """
        try:
            self._apply(wall_of(self.pve, self.home))
        except (HearthError, ValueError, KeyError) as error:
            self.problem = error.reason if isinstance(error, HearthError) else repr(error)
            self._tried = ""  # and is tried again

    def _apply(self, wall: Wall) -> None:
        stored = repr(wall)  # a copy: what is stored is changed in place
        if stored == self._tried:
            return
        self._wall, self._tried, self.problem = wall, stored, None
        run("nft", "-f", "-", stdin=compiler.ruleset(wall))

    def state(self) -> dict[str, Any]:
        """For `twin status`: whether it is on, whose interfaces it guards, what went wrong."""
        on = compiler.in_force(self._wall.cluster)
        guests = [g.vmid for g in self._wall.guests if g.conf["options"].get("enable") and g.ports]
        return {"on": on, "guests": guests if on else [], "problem": self.problem}


def wall_of(pve: Any, home: Home) -> Wall:
    """What the fake stores, and the guests and nodes that it is about.

    Args:
        pve: the fake: its firewall's files, its guests' configurations.
        home: the nodes' addresses.
    """
    guests = []
    for guest in pve.everyone():
        conf = pve._fw()["guests"].get(guest.vmid)
        if conf is not None:
            is_container = str(guest.guest).startswith("lxc/")
            spec = (container if is_container else machine)(guest.vmid, guest.config)
            guests.append(_guest(spec, conf, "ct" if is_container else "vm"))
    return Wall(
        cluster=pve.firewall_config("cluster"),
        guests=tuple(sorted(guests, key=lambda guest: guest.vmid)),
        nodes=tuple(_node(node, home, pve._fw()["nodes"].get(node.name)) for node in home.nodes),
    )


def _guest(spec: Spec, conf: Conf, kind: str) -> Guest:
    ports = tuple(_port(spec, nic, static=kind == "ct") for nic in spec.nics if nic.firewall)
    return Guest(spec.vmid, kind, conf, ports)


def _port(spec: Spec, nic: Nic, static: bool) -> Port:
    """A VM's addresses are cloud-init's: pve-firewall does not know them."""
    told = [str(a).partition("/")[0] for a in (nic.address, nic.address6) if a and "/" in a]
    return Port(nic.index, veth_name(spec.vmid, nic.index), nic.mac, tuple(told) if static else ())


def _node(node: HomeNode, home: Home, conf: Conf | None) -> Node:
    own = ip_address(node.address)
    own6 = home.own6 if node == home.nodes[0] else []
    networks = [ip_interface(address).network for segment in home.segments for address in segment.addresses]
    network = next((str(net) for net in networks if own in net), str(own))
    proxies = {segment.proxy for segment in home.segments}
    return Node(
        name=node.name,
        conf=conf or empty(),
        addresses=(own, *map(ip_address, own6)),
        network=network,
        open=(PROXY_PORT,) if node.address in proxies else (),
    )

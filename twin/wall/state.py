"""What pve-firewall reads when it compiles: the stored files, the guests' interfaces, the nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

#: A configuration as the API stores it: options, rules, aliases, ipset, groups.
Conf = dict[str, Any]


def empty() -> Conf:
    """The configuration of a file that does not exist."""
    return {"options": {}, "rules": [], "aliases": {}, "ipset": {}, "groups": {}}


@dataclass(frozen=True)
class Port:
    """An interface of a guest, where its frames pass.

    Attributes:
        index: the N of netN.
        device: its end on the node: vethVMIDiN.
        mac: its address.
        addresses: the static ones of its configuration, without prefix length (containers only).
    """

    index: int
    device: str
    mac: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guest:
    """A guest: its file, and its interfaces that have `firewall=1`."""

    vmid: int
    kind: str  # "ct" or "vm"
    conf: Conf
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Node:
    """A node: its file and addresses.

    Attributes:
        conf: host.fw.
        addresses: its own ones.
        network: the network that `local_network` means where no alias says otherwise.
        open: ports that are the twin's own means (its forward proxy), no part of a real node.
    """

    name: str
    conf: Conf
    addresses: tuple[IPv4Address | IPv6Address, ...]
    network: str
    open: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wall:
    """All of it.

    Attributes:
        cluster: cluster.fw; `enable` as it reads now (0 once it has expired).
    """

    cluster: Conf = field(default_factory=empty)
    guests: tuple[Guest, ...] = ()
    nodes: tuple[Node, ...] = ()

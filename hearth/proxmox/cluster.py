"""Which nodes belong together: one GET of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from hearth.firewall.sources import Address
from hearth.fleet.model import Fleet
from hearth.proxmox.api import Api


@dataclass(frozen=True)
class Cluster:
    """A cluster, or a node that stands alone.

    Args:
        name: of the cluster; of the node where it stands alone.
        nodes: its nodes and their addresses.
    """

    name: str
    nodes: Mapping[str, Address]

    def first(self, fleet: Fleet) -> str:
        """The fleet's first node in it: what is one for the whole cluster is done there."""
        return next(each.name for each in fleet.nodes if each.name in self.nodes)


def cluster_of(api: Api, node: str, fleet: Fleet) -> Cluster:
    """The cluster that a node belongs to: GET /cluster/status.

    Args:
        api: the node's API.
        node: its name.
        fleet: the addresses that it has win over what the cluster says.

    Raises:
        ApiError: it cannot be asked.
    """
    rows = api.get("/cluster/status") or []
    known = {each.name: each.address for each in fleet.nodes}
    nodes: dict[str, Address] = {node: known[node]}
    for row in rows:
        if row.get("type") == "node" and (row["name"] in known or row.get("ip")):
            nodes[str(row["name"])] = known.get(row["name"]) or ip_address(str(row["ip"]))
    name = next((str(row["name"]) for row in rows if row.get("type") == "cluster"), node)
    return Cluster(name, dict(sorted(nodes.items())))

"""Where a guest of a cluster lives: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hearth.errors import HearthError
from hearth.fleet.model import AUTO, Fleet, Guest
from hearth.proxmox.observe import NodeView

DEFAULT_MEMORY = 512  # MiB: what Proxmox gives a guest that declares none


def place(guest: Guest, views: Sequence[NodeView], free: Mapping[str, int]) -> str:
    """The node of a guest: the declared one; for `auto` where it is, else where most memory is free.

    Args:
        views: of the fleet's nodes. free: MiB of free memory of each node that may take it.

    Raises:
        HearthError: no node can take it.
    """
    if guest.node != AUTO:
        return guest.node
    for view in views:
        if view.find(guest.vmid):
            return view.node
    if not free:
        raise HearthError(f"place guest {guest.name}", "no node of the fleet is online", "name its node")
    return max(sorted(free), key=lambda node: free[node])


def place_all(fleet: Fleet, views: Sequence[NodeView], free: Mapping[str, int]) -> dict[str, str]:
    """The node of every guest, by name; each that is placed takes its memory from the next one's choice.

    Args:
        free: MiB of each node, from `observe.free_memory`; other nodes than the fleet's do not count.
    """
    left = {node.name: free[node.name] for node in fleet.nodes if node.name in free}
    placed: dict[str, str] = {}
    for guest in fleet.guests:
        node = placed[guest.name] = place(guest, views, left)
        there = any(view.find(guest.vmid) for view in views)
        if node in left and not there:
            left[node] -= guest.memory or DEFAULT_MEMORY
    return placed

"""A dead disk: the guests and what is on the node's storages are lost. The node and its settings stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.real.pve import RealPve


async def strike(pve: RealPve, backups: bool) -> list[str]:
    """Destroy every guest, its disks and its configuration, and all templates and images.

    Args:
        pve: the node.
        backups: the backups on its storages too; else they are somewhere else, and whole.

    Returns:
        The names of the guests that were.
    """
    lost = []
    for guest in pve.everyone():
        await pve.real_destroy(guest)
        pve.lose(guest)
        lost.append(str(guest.name))
    for store in pve.storages.values():
        kept = {
            name: volume for name, volume in store.get("volumes", {}).items() if volume["content"] == "backup"
        }
        gone = [volume for name, volume in store.get("volumes", {}).items() if name not in kept]
        if "avail" in store:
            store["avail"] += sum(int(volume.get("size") or 0) for volume in gone)
        store.update(volumes=kept, files=set())
    pve.contents.clear()
    pve.told.clear()
    if backups:
        pve.forget_archives()
    return sorted(lost)

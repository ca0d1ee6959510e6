"""Backups of whole guests on Proxmox's storages: which there are, and whether one is ours. GETs only.

Calls: PVE::API2::Storage::Content, PVE::API2::VZDump (extractconfig).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hearth.fleet.model import Guest
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.desired import TAG
from hearth.proxmox.observe import NAME_KEYS, PATHS


@dataclass(frozen=True)
class Archive:
    """A backup of a guest.

    Args:
        volid: its volume ID.
        vmid: the guest's VMID.
        kind: "lxc" or "qemu".
        time: when it was made.
        size: bytes.
        failed: a Proxmox Backup Server has found it damaged.
        verified: one has read it whole.
    """

    volid: str
    vmid: int
    kind: str
    time: datetime
    size: int
    failed: bool = False
    verified: bool = False


def listed(api: Api, node: str, storages: Iterable[str]) -> list[Archive]:
    """The backups on a node's storages, newest first. Raises ApiError."""
    rows: list[Mapping[str, Any]] = []
    for storage in storages:
        rows += api.get(f"/nodes/{node}/storage/{storage}/content", content="backup") or []
    found = [
        Archive(
            str(row["volid"]),
            int(row["vmid"]),
            str(row.get("subtype") or ("lxc" if "-lxc-" in str(row["volid"]) else "qemu")),
            datetime.fromtimestamp(int(row.get("ctime") or 0), UTC),
            int(row.get("size") or 0),
            (row.get("verification") or {}).get("state") == "failed",
            (row.get("verification") or {}).get("state") == "ok",
        )
        for row in rows
        if row.get("vmid")
    ]
    return sorted(found, key=lambda archive: archive.time, reverse=True)


def candidates(found: Sequence[Archive], guest: Guest, date: datetime | None) -> list[Archive]:
    """A guest's backups that are not newer than a date, newest first."""
    return [
        archive
        for archive in found
        if archive.vmid == guest.vmid
        and archive.kind == PATHS[guest.kind]
        and (date is None or archive.time <= date)
    ]


def why_not(api: Api, node: str, archive: Archive, guest: Guest) -> str:
    """Why a backup cannot be used for a guest; nothing where it can, as far as Proxmox can tell.

    Its configuration is read from inside of it: a file that is cut or is no backup has none.
    """
    if archive.failed:
        return "the backup server has found it damaged"
    if not archive.size:
        return "it is empty"
    try:
        text = str(api.get(f"/nodes/{node}/vzdump/extractconfig", volume=archive.volid) or "")
    except ApiError as error:
        return f"its configuration cannot be read: {error.reason}"
    config = dict(line.partition(": ")[::2] for line in text.splitlines() if not line.startswith("#"))
    name = config.get(NAME_KEYS[guest.kind], "")
    tags = config.get("tags", "").replace(",", ";").split(";")
    if name.lower() != guest.name.lower() or TAG not in tags:
        return f"it is of another guest, {name or 'without a name'}"
    return ""

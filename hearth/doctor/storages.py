"""Judges storages and images. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hearth.doctor.finding import Finding, fail, ok, warn
from hearth.fleet.model import BackupJob, Fleet, Guest, Image, Kind, Node
from hearth.proxmox.images import CONTENT, volume_of

MIB = 1024**2
GIB = 1024**3
DISKS: Mapping[Kind, str] = {"lxc": "rootdir", "vm": "images"}
BACKUP = "backup"
LABELS = {
    "rootdir": "Container",
    "images": "Disk image",
    "vztmpl": "Container template",
    "import": "Import",
    BACKUP: "Backup",
}


def wanted_content(
    node: Node, guests: Iterable[Guest], images: Iterable[Image], jobs: Iterable[BackupJob] = ()
) -> dict[str, frozenset[str]]:
    """Which content types each storage has to take: storage -> types."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for guest in guests:
        for storage in disk_sizes(node, guest):
            wanted[storage].add(DISKS[guest.kind])
    for image in images:
        wanted[node.images].add(CONTENT[image.kind])
    for job in jobs:
        wanted[job.storage].add(BACKUP)
    return {storage: frozenset(types) for storage, types in wanted.items()}


def disk_sizes(node: Node, guest: Guest) -> dict[str, int]:
    """What a guest's disks take when they are full: storage -> MiB."""
    home = guest.storage or node.storage
    sizes: dict[str, int] = defaultdict(int)
    sizes[home] += guest.disk or 0
    for disk in guest.disks:
        sizes[disk.storage or home] += disk.size
    for mount in guest.mounts:
        if mount.source is None:
            sizes[mount.storage or home] += mount.size or 0
    return dict(sizes)


def judge_storages(
    node: Node,
    rows: Collection[Mapping[str, Any]],
    content: Mapping[str, Collection[str]],
    absent: Iterable[Guest],
) -> list[Finding]:
    """Compare the node's storages with what the fleet wants of them.

    Args:
        node: the node of the fleet.
        rows: GET /nodes/N/storage.
        content: see `wanted_content`.
        absent: guests that do not exist yet; their disks have to fit.
    """
    by_name = {str(row["storage"]): row for row in rows}
    space: dict[str, int] = defaultdict(int)
    for guest in absent:
        for storage, size in disk_sizes(node, guest).items():
            space[storage] += size
    findings = []
    for storage in sorted({*content, node.storage, node.images}):
        findings.append(_judge(node, storage, by_name.get(storage), content.get(storage, ()), space[storage]))
    return findings


def _judge(
    node: Node, storage: str, row: Mapping[str, Any] | None, wanted: Collection[str], size: int
) -> Finding:
    where = f"storage {storage} of {node.name}"
    if row is None:
        remedy = f"on the node: pvesm status; then put the right name into the fleet file (node {node.name})"
        return fail("storage", f"there is no {where} that the token can see", remedy)
    if not int(row.get("enabled", 1)):
        return fail("storage", f"{where} is disabled", f"on the node: pvesm set {storage} --disable 0")
    if not int(row.get("active", 1)):
        return fail("storage", f"{where} is not active", f"on the node: pvesm status --storage {storage}")
    there = {word for word in str(row.get("content", "")).split(",") if word}
    lacking = sorted(set(wanted) - there)
    if lacking:
        words = ", ".join(f"{word} ({LABELS[word]})" for word in lacking)
        whole = ",".join(sorted(there | set(wanted)))
        return fail(
            "storage", f"{where} does not take {words}", f"on the node: pvesm set {storage} --content {whole}"
        )
    return _judge_space(where, row, size)


def _judge_space(where: str, row: Mapping[str, Any], size: int) -> Finding:
    avail = int(row.get("avail") or 0)
    if size * MIB > avail:
        text = f"{where} has {avail // GIB} GiB free; the guests to create may fill {size // 1024} GiB"
        remedy = "free some space, or make the disks in the fleet file smaller"
        return warn("storage", text, remedy) if avail else fail("storage", text, remedy)
    return ok("storage", f"{where} is active, takes what it has to, {avail // GIB} GiB free")


def judge_images(
    node: Node, volumes: Collection[str], wanted: Iterable[Image], unreachable: Mapping[str, str]
) -> list[Finding]:
    """Each image is on the storage, or the node can download it.

    Args:
        node: the node of the fleet.
        volumes: volume IDs on the image storage.
        wanted: the images that absent guests are made from.
        unreachable: URL -> why the node cannot fetch it.
    """
    findings = []
    for image in wanted:
        volume = volume_of(image, node)
        if volume in volumes:
            findings.append(ok("image", f"image {image.name} is there ({volume})"))
        elif image.url in unreachable:
            text = (
                f"image {image.name} is not there, and {node.name} cannot fetch it: {unreachable[image.url]}"
            )
            remedy = f"mend its url in the fleet file; on the node: curl -I {image.url}"
            findings.append(fail("image", text, remedy))
        else:
            findings.append(ok("image", f"image {image.name} can be fetched by {node.name}"))
    return findings


def images_of(fleet: Fleet, guests: Iterable[Guest]) -> tuple[Image, ...]:
    """The images that these guests are made from, each once, in the file's order."""
    names = {guest.image for guest in guests}
    return tuple(image for image in fleet.images if image.name in names)

"""Differences of disks and mount points: they are made and grown, never shrunk, moved or made twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hearth.proxmox import desired, properties
from hearth.proxmox.change import Change, Difference
from hearth.proxmox.desired import Volume
from hearth.proxmox.observe import Config
from hearth.proxmox.subject import NONE, Subject, yes

GIB = 1024
_DRIVE = re.compile(r"(?:scsi|virtio|sata|ide)\d+")
_OPTIONS = {"mp": "path", "backup": "backup", "ro": "read-only"}


def differences(subject: Subject) -> Iterator[Difference]:
    """Of the root disk, and of each declared slot."""
    guest = subject.intent.guest
    if guest.disk is not None:
        slot = "rootfs" if guest.kind == "lxc" else root_slot(subject.config)
        yield from _size(subject, slot, "disk", guest.disk)
    for volume in desired.volumes(subject.intent):
        yield from _volume(subject, volume)
    for slot, bind in desired.binds(guest).items():
        yield from _bind(subject, slot, bind)


def root_slot(config: Config) -> str:
    """The disk that a VM boots from: the first one in `boot`, else scsi0."""
    order = properties.parse(config.next("boot"), "legacy").get("order", "")
    drives = [slot for slot in order.split(";") if _DRIVE.fullmatch(slot)]
    return next((slot for slot in drives if is_disk(config.next(slot))), "scsi0")


def is_disk(value: object) -> bool:
    """True for a drive that is a disk: neither a CD-ROM nor cloud-init's."""
    drive = properties.parse(value, "volume")
    return bool(drive.get("volume")) and drive["volume"] != NONE and drive.get("media") != "cdrom"


def size_of(value: object) -> int | None:
    """MiB of a volume; None where it has no limit or none is known."""
    return properties.mebibytes(properties.parse(value, "volume").get("size", "")) or None


def shown(*sizes: int) -> tuple[list[str], str]:
    """Sizes and their unit: GiB where all are whole ones, else MiB."""
    whole = all(size % GIB == 0 for size in sizes)
    return [str(size // GIB if whole else size) for size in sizes], "GiB" if whole else "MiB"


def _size(subject: Subject, slot: str, field: str, wanted: int) -> Iterator[Difference]:
    value = subject.config.next(slot)
    present = size_of(value)
    if present is None and value is not None and not subject.is_container:
        present = 0  # a disk of a VM always has a size; a container's subvolume may have no limit
    if present is None or present == wanted:
        return
    (old, new), unit = shown(present, wanted)
    change = Change(field, old, new, "live", unit)
    if wanted > present:
        yield Difference(change, grow={slot: wanted})
        return
    reason = f"{field} would shrink from {old} to {new} {unit}, and Proxmox disks only grow"
    yield Difference(change, refused=reason, remedy=f"declare at least {old} {unit}")


def _volume(subject: Subject, volume: Volume) -> Iterator[Difference]:
    value = subject.config.next(volume.slot)
    if value is None:
        yield _new(subject, volume)
        return
    properties_now = properties.parse(value, "volume")
    if properties_now.get("volume", "").startswith("/"):
        yield _taken(volume.slot, properties_now["volume"], "a volume")
        return
    if volume.size is not None:
        yield from _size(subject, volume.slot, volume.slot, volume.size)
    yield from _options(subject, volume.slot, volume.options, root=False)


def _new(subject: Subject, volume: Volume) -> Difference:
    path = volume.options.get("mp", "")
    (size,), unit = shown(volume.size or 0)
    change = Change(volume.slot, NONE, f"{path} {size}".strip(), subject.how(volume.slot), unit)
    if volume.size is None:
        return Difference(change, refused=f"{volume.slot} has no size", remedy="declare its size")
    return _guarded(subject, volume.slot, Difference(change, {volume.slot: volume.allocation}))


def _bind(subject: Subject, slot: str, bind: Mapping[str, str]) -> Iterator[Difference]:
    value = subject.config.next(slot)
    whole = properties.show(bind, "volume")
    if value is None:
        change = Change(slot, NONE, f"{bind['mp']} from {bind['volume']}", subject.how(slot))
        yield _guarded(subject, slot, Difference(change, root={slot: whole}))
        return
    present = properties.parse(value, "volume")
    if not present.get("volume", "").startswith("/"):
        yield _taken(slot, present.get("volume", ""), f"{bind['volume']} of the node")
        return
    yield from _options(subject, slot, bind, root=True)


def _options(subject: Subject, slot: str, wanted: Mapping[str, str], root: bool) -> Iterator[Difference]:
    """Changed options of a slot that is there: its own volume is sent again, never an allocation."""
    whole = properties.show({**properties.parse(subject.config.next(slot), "volume"), **wanted}, "volume")
    for option, value in wanted.items():
        flag = option in ("backup", "ro")

        def read(raw: object, option: str = option, flag: bool = flag) -> str:
            text = properties.parse(raw, "volume").get(option, "")
            return str(int(properties.flag(text))) if flag else text

        def show(text: str, flag: bool = flag) -> str:
            return yes(text == "1") if flag else text

        field = f"{slot} {_OPTIONS.get(option, 'source')}"
        for found in subject.judge(slot, field, value, read=read, show=show, send=lambda _: whole):
            moved = replace(found, send={}, root=found.send) if root else found
            yield found if found.change.pending else _guarded(subject, slot, moved)


def _guarded(subject: Subject, slot: str, found: Difference) -> Difference:
    """PVE::LXC::Config, update_pct_config: "can't update CT ... drive ... - protection mode enabled"."""
    stays = subject.intent.guest.protection is not False
    if subject.is_container and stays and properties.flag(subject.config.values.get("protection")):
        remedy = "declare protection: false, run, and turn it on again afterwards"
        reason = f"Proxmox does not change {slot} while protection is on"
        return replace(found, refused=reason, remedy=remedy)
    return found


def _taken(slot: str, present: str, wanted: str) -> Difference:
    reason = f"slot {slot} already holds {present}, not {wanted}"
    change = Change(slot, present, wanted, "live")
    return Difference(change, refused=reason, remedy="use a slot that is free")

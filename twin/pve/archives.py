"""Correction: a restore takes a guest's configuration from its backup, and a backup shows it.

Recordings of /nodes/N/lxc with restore=1, of .../vzdump/extractconfig and of .../content?content=backup.
Source: `restore_configuration` in PVE/LXC/Create.pm (pve-container), PVE/API2/VZDump.pm (pve-manager).
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fakepve import TaskError
from fakepve.lxc import normalise
from fakepve.routing import die

from twin.pve.ct_config import stored
from twin.pve.views import Views

_DISK = re.compile(r"(rootfs|mp\d+|scsi\d+|virtio\d+)")
_SIZE = re.compile(r"size=(\d+)G")
_DROPPED = ("lock", "digest", "unused0", "parent", "meta", "vmgenid", "smbios1")
_NAME = re.compile(
    r"backup/vzdump-(lxc|qemu)-(\d+)-(\d{4}(?:_\d\d){2}-\d\d(?:_\d\d){2})\.((?:tar|vma)(?:\.\w+)?)"
)
_STAMP = "%Y_%m_%d-%H_%M_%S"
#: Keys that come back as numbers.
_NUMBERS = ("cores", "sockets", "swap", "unprivileged", "onboot", "protection", "template", "cpuunits")
#: What stands in a configuration file as %XX: encode_text in PVE/Tools.pm.
_ENCODED = re.compile(r"[\x00-\x1f:%]")


class Archives(Views):
    """Backups on storages. `archives` has what each holds: volume ID -> the guest's configuration."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.archives: dict[str, dict[str, Any]] = {}

    def _routes_archives(self) -> list[Any]:
        return [("GET", "/nodes/{node}/vzdump/extractconfig", self._extract_config)]

    def add_archive(
        self, vmid: int, when: str, ctime: int, storage: str = "local", size: int = 1 << 20
    ) -> str:
        """Back up a guest that is there, as vzdump would have named it; its volume ID.

        Args:
            vmid: the guest.
            when: part of the name: "2026_11_30-02_00_00".
            ctime: the same in Unix seconds.
            storage: where it goes.
            size: bytes.
        """
        guest = next(one for one in (*self.cts, *self.vms) if one.vmid == vmid)
        name = archive_name(guest in self.cts, vmid, when)
        self.store_archive(storage, name, size, ctime)
        self.archives[f"{storage}:{name}"] = kept_config(guest)
        return f"{storage}:{name}"

    def store_archive(self, storage: str, name: str, size: int, ctime: int, notes: str | None = None) -> None:
        """Have a storage show a backup: kind, guest and format are what its name says."""
        kind, vmid, _, ending = _parts(name)
        self.storages[storage].setdefault("volumes", {})[name] = {
            "content": "backup",
            "format": ending,
            "size": size,
            "ctime": ctime,
            "vmid": int(vmid),
            "subtype": kind,
            **({"notes": notes} if notes else {}),
        }

    def forget_archive(self, storage: str, name: str) -> None:
        """Remove a backup."""
        self.storages[storage]["volumes"].pop(name, None)
        self.archives.pop(f"{storage}:{name}", None)

    def archive_config(self, volid: str) -> dict[str, Any]:
        """The configuration that a backup holds.

        Raises:
            PveError: it cannot be read.
        """
        config = self.archives.get(volid)
        if config is None:
            raise die(f"could not find vzdump config in {volid}")
        return config

    def _item(self, name: str, volname: str, vol: dict[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = super()._item(name, volname, vol)
        if vol.get("subtype"):
            item["subtype"] = vol["subtype"]
        return item

    async def _extract_config(self, v: dict[str, Any], user: str) -> str:
        return written(self.archive_config(v["volume"]))

    async def _lxc_create(self, user: str, v: dict[str, Any]) -> Any:
        if not v.get("restore"):
            return await super()._lxc_create(user, v)
        vmid = int(v["vmid"])
        self._check_vmid_unused(vmid)
        found = self._restored(v, v["ostemplate"])
        for key in [key for key in found if key.startswith("net") and key not in v]:
            self._check_bridge(user, str(found[key]))

        async def finish() -> None:
            ct = self.ct(vmid)
            ct.config.update(_merged(found, v), lock="create")
            try:
                await self.real_create(ct, v)
            except TaskError as error:
                self._drop(ct)
                raise TaskError(f"unable to restore CT {vmid} - {error}") from error
            ct.lock = None
            if v.get("start"):
                await self._start_steps(ct, user)

        self.then("vzrestore", vmid, finish)
        # Of what the backup says nobody's rights are asked, but for bridges: sanitize_and_merge_config.
        asked = {key: value for key, value in found.items() if _DISK.fullmatch(key) or key == "unprivileged"}
        asked = {key: value for key, value in {**asked, **v}.items() if key != "start"}
        try:
            return await super()._lxc_create(user, asked)
        finally:
            self._thens.pop(("vzrestore", vmid), None)

    async def _qm_create(self, v: dict[str, Any], user: str) -> Any:
        archive = v.get("archive")
        if archive is None:
            return await super()._qm_create(v, user)
        return await super()._qm_create({**self._restored(v, archive), **v}, user)

    def _restored(self, v: dict[str, Any], volid: str) -> dict[str, Any]:
        """What a backup adds to a request: its configuration, with new disks of the same size."""
        if not self.volume_exists(volid):
            raise die(f"volume '{volid}' does not exist")
        storage = v.get("storage", "local")
        found = {}
        for key, value in self.archive_config(volid).items():
            size = _SIZE.search(str(value))
            options = [part for part in str(value).split(",")[1:] if not part.startswith("size=")]
            if _DISK.fullmatch(key) and size:
                found[key] = ",".join([f"{storage}:{size[1]}", *options])
            elif "cloudinit" in str(value):
                found[key] = ",".join([f"{storage}:cloudinit", *options])
            elif not _DISK.fullmatch(key):
                found[key] = value
        return found


def _merged(found: Mapping[str, Any], v: Mapping[str, Any]) -> dict[str, Any]:
    """What a container's backup says and the request does not, as a configuration has it."""
    return {
        key: int(value) if key == "memory" else stored(key, normalise(key, value))
        for key, value in found.items()
        if key not in v and not _DISK.fullmatch(key)
    }


def archive_name(container: bool, vmid: int, when: str, ending: str = "zst") -> str:
    """A backup's volume name as vzdump gives it.

    Args:
        container: a container's, not a VM's.
        vmid: whose.
        when: "2026_11_30-02_00_00".
        ending: of the compression; "" for none.
    """
    kind, archive = ("lxc", "tar") if container else ("qemu", "vma")
    return f"backup/vzdump-{kind}-{vmid}-{when}.{archive}" + (f".{ending}" if ending else "")


def stamp(moment: float) -> str:
    """Unix seconds as they stand in a backup's name. The node keeps UTC."""
    return time.strftime(_STAMP, time.gmtime(moment))


def made_at(name: str) -> int:
    """When a backup was made, in Unix seconds, from its name: `archive_info` in PVE/Storage.pm.

    Raises:
        ValueError: it is no backup's name.
    """
    return calendar.timegm(time.strptime(_parts(name)[2], _STAMP))


def is_archive(name: str) -> bool:
    """Whether a volume's name is a backup's."""
    return _NAME.fullmatch(name) is not None


def _parts(name: str) -> tuple[str, str, str, str]:
    """Kind, VMID, time and ending of a backup's name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no backup's name")
    return found[1], found[2], found[3], found[4]


def kept_config(guest: Any) -> dict[str, Any]:
    """What vzdump keeps of a guest's configuration."""
    return {key: value for key, value in guest.config.items() if key not in _DROPPED}


def written(config: Mapping[str, Any]) -> str:
    """A configuration as a guest's file has it: the description as comments, then `key: value`."""
    notes = str(config.get("description") or "").removesuffix("\n")
    lines = [f"#{_ENCODED.sub(_encoded, line)}" for line in notes.split("\n")] if notes else []
    return "\n".join([*lines, *(f"{k}: {config[k]}" for k in sorted(config) if k != "description"), ""])


def read(text: str) -> dict[str, Any]:
    """A configuration from a guest's file, up to its first snapshot."""
    current = text.partition("\n[")[0].splitlines()
    notes = [unquote(line.removeprefix("#")) for line in current if line.startswith("#")]
    found: dict[str, Any] = {
        key: int(value) if key in _NUMBERS else value
        for key, mark, value in (line.partition(": ") for line in current if not line.startswith("#"))
        if mark
    }
    return {**found, **({"description": "\n".join(notes) + "\n"} if notes else {})}


def _encoded(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"

"""Correction: a restore takes a guest's configuration from its backup, and a backup shows it.

Recordings of /nodes/N/lxc with restore=1, of .../vzdump/extractconfig and of .../content?content=backup.
Source: `restore_configuration` in PVE/LXC/Create.pm (pve-container), PVE/API2/VZDump.pm (pve-manager).
"""

from __future__ import annotations

import re
from typing import Any

from fakepve.routing import die

from twin.pve.views import Views

_DISK = re.compile(r"(rootfs|mp\d+|scsi\d+|virtio\d+)")
_SIZE = re.compile(r"size=(\d+)G")
_DROPPED = ("lock", "digest", "unused0", "parent", "meta", "vmgenid", "smbios1")


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
        kind, ending = ("lxc", "tar.zst") if guest in self.cts else ("qemu", "vma.zst")
        name = f"backup/vzdump-{kind}-{vmid}-{when}.{ending}"
        self.storages[storage].setdefault("volumes", {})[name] = {
            "content": "backup",
            "format": ending,
            "size": size,
            "ctime": ctime,
            "vmid": vmid,
            "subtype": kind,
        }
        self.archives[f"{storage}:{name}"] = {
            key: value for key, value in guest.config.items() if key not in _DROPPED
        }
        return f"{storage}:{name}"

    async def _extract_config(self, v: dict[str, Any], user: str) -> str:
        config = self.archives.get(v["volume"])
        if config is None:
            raise die(f"could not find vzdump config in {v['volume']}")
        return "".join(f"{key}: {value}\n" for key, value in sorted(config.items()))

    async def _lxc_create(self, user: str, v: dict[str, Any]) -> Any:
        if not v.get("restore"):
            return await super()._lxc_create(user, v)
        self._check_vmid_unused(int(v["vmid"]))
        return await super()._lxc_create(user, {**self._restored(v, v["ostemplate"]), **v})

    async def _qm_create(self, v: dict[str, Any], user: str) -> Any:
        archive = v.get("archive")
        if archive is None:
            return await super()._qm_create(v, user)
        plain = {key: value for key, value in v.items() if key != "archive"}
        return await super()._qm_create({**self._restored(v, archive), **plain}, user)

    def _restored(self, v: dict[str, Any], volid: str) -> dict[str, Any]:
        """What a backup adds to a request: its configuration, with new disks of the same size."""
        config = self.archives.get(volid)
        if config is None:
            raise die(f"volume '{volid}' does not exist")
        storage = v.get("storage", "local")
        found = {}
        for key, value in config.items():
            size = _SIZE.search(str(value))
            if _DISK.fullmatch(key) and size:
                found[key] = f"{storage}:{size[1]}"
            elif not _DISK.fullmatch(key):
                found[key] = value
        return found

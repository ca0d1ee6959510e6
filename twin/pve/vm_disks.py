"""Correction: the disks of VMs: import, cloud-init drives, resize, move, what is left unused.

Recordings 18-22 (`vm-N-cloudinit`), 40-45 and 695 (resize), 653-657 (move), 1033-1039 (import-from).
Source: PVE/API2/Qemu.pm (`create_disks`, `resize_vm`, `move_vm_disk`), PVE/Storage.pm.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fakepve import PveError, TaskError
from fakepve.lxc import SIZE_UNITS, format_size
from fakepve.qemu import DRIVE_KEY, is_cdrom, join_drive, split_drive, volume_ref
from fakepve.routing import die, param_error
from fakepve.storage import _is_file

from twin.pve import vm_values
from twin.pve.forms import Forms
from twin.pve.hooks import Hooks
from twin.pve.shown import digest_of

CLOUDINIT = re.compile(r"^([^:]+):(?:.*/)?vm-\d+-cloudinit(\.\w+)?$")
CLOUDINIT_SIZE = 4 * 1024**2
#: Virtual size of an imported image whose own header was not read, in bytes.
IMAGE_SIZE = 2 * 1024**3


class VmDisks(Forms, Hooks):
    """Disks of VMs, and who may give a VM what."""

    def _routes_vm_disks(self) -> list[Any]:
        one = "/nodes/{node}/qemu/{vmid}"
        return [
            ("PUT", one + "/resize", self._vm_resize),
            ("POST", one + "/move_disk", self._vm_move),
        ]

    @asynccontextmanager
    async def config_lock(self, guest: Any) -> AsyncIterator[None]:
        """Hold a guest's config lock; a 500 where it stays held elsewhere for 10 s."""
        try:
            await self.acquire(guest, "config")
        except TaskError as error:
            raise die(str(error)) from error
        try:
            yield
        finally:
            self.release(guest, "config")

    # ----------------------------------------------------------- permissions

    def check_vm_keys(self, user: str, vmid: int, pool: str | None, values: dict[str, Any]) -> None:
        """Whether a user may set or delete these keys. Raises 403, or 500 where only root@pam may."""
        if user == "root@pam":
            return
        for key in sorted(values):
            needed = vm_values.privilege(key)
            if needed is None:
                raise die(f"only root can set '{key}' config")
            self._qm_perm(user, vmid, pool, needed or self._by_value(key, str(values[key])))
            if key == "startup":
                self.require(user, "/", "Sys.Modify")
            if re.fullmatch(r"net\d+", key) and values[key]:
                self._check_bridge(user, str(values[key]))

    def _qm_perm(self, user: str, vmid: int, pool: str | None, *privs: str) -> None:
        """For cloud-init's settings either of two is enough: check_vm_modify_config_perm."""
        if privs == ("VM.Config.Cloudinit",) and self._may(user, vmid, pool, "VM.Config.Network"):
            return
        super()._qm_perm(user, vmid, pool, *privs)

    def _may(self, user: str, vmid: int, pool: str | None, priv: str) -> bool:
        places = [f"/vms/{vmid}", *([f"/pool/{pool}"] if pool else [])]
        return any(self.allowed(user, place, priv) for place in places)

    @staticmethod
    def _by_value(key: str, value: str) -> str:
        """The privilege of a key whose value decides."""
        real = (key.startswith("serial") and value not in ("", "socket")) or key.startswith("hostpci")
        if real or (key.startswith("usb") and value and vm_values.usb_is_real(value)):
            raise die(f"only root can set '{key}' config for real devices")
        if not (DRIVE_KEY.match(key) or key.startswith("unused")):
            return "VM.Config.HWType"
        return "VM.Config.CDROM" if "media=cdrom" in value else "VM.Config.Disk"

    def _config_priv(self, key: str) -> str:
        return vm_values.privilege(key) or ("VM.Config.Disk" if DRIVE_KEY.match(key) else "VM.Config.HWType")

    # ---------------------------------------------------------- making disks

    def _qm_check_drive(  # noqa: PLR0917 - fakepve's signature
        self, user: str, vmid: int, pool: str | None, key: str, value: Any, default: str | None
    ) -> None:
        super()._qm_check_drive(user, vmid, pool, key, value, default)
        volume, options = split_drive(str(value))
        source = options.get("import-from")
        if source is None:
            return
        if not re.fullmatch(r"[^:]+:0", volume):
            text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"
            raise param_error(**{key: text})
        self._check_source(user, key, source)

    def _check_source(self, user: str, key: str, source: str) -> None:
        sid, name = volume_ref(source)
        if sid is None:
            # Recording 1033: a token of root is not root.
            if user != "root@pam":
                raise die("Only root can pass arbitrary filesystem paths.")
            return
        kind, owner, _ = self._parse_volname(self._store(sid), name)
        if kind not in ("images", "import"):
            raise param_error(**{key: f"{source} has wrong type '{kind}' - needs to be 'images' or 'import'"})
        if owner:
            self.require(user, f"/vms/{owner}", "VM.Clone")
        else:
            self._check_access(user, sid, kind, owner, source)

    def _qm_new_drive(self, vmid: int, key: str, value: Any, default: str | None) -> tuple[str, list[str]]:
        volume, options = split_drive(str(value))
        if volume.endswith(":cloudinit"):
            return self._cloudinit_drive(vmid, volume_ref(volume)[0] or default or "")
        source = options.pop("import-from", None)
        if source is not None:
            return self._imported_drive(vmid, volume.partition(":")[0], source, options)
        if CLOUDINIT.match(volume):
            return str(value), []
        made: tuple[str, list[str]] = super()._qm_new_drive(vmid, key, value, default)
        return made

    def _cloudinit_drive(self, vmid: int, sid: str) -> tuple[str, list[str]]:
        store = self._store(sid)
        name = f"{vmid}/vm-{vmid}-cloudinit.qcow2" if _is_file(store) else f"vm-{vmid}-cloudinit"
        volid = f"{sid}:{name}"
        kind = "qcow2" if _is_file(store) else "raw"
        store.setdefault("volumes", {})[name] = {
            "content": "images",
            "format": kind,
            "size": CLOUDINIT_SIZE,
            "vmid": vmid,
            "ctime": 0,
        }
        return f"{volid},media=cdrom", [volid]

    def _imported_drive(
        self, vmid: int, sid: str, source: str, options: dict[str, str]
    ) -> tuple[str, list[str]]:
        size = IMAGE_SIZE
        from_sid, name = volume_ref(source)
        if from_sid is not None:
            image = self._volumes(from_sid).get(name)
            if image is None:
                raise die(f"volume '{source}' does not exist")
            size = int(image.get("virtual") or image.get("size") or IMAGE_SIZE)
        volid, _ = self._qm_alloc(sid, vmid, options.pop("format", None), size)
        return join_drive(volid, {**options, "size": format_size(size)}), [volid]

    # ---------------------------------------------------------- letting go

    def keep_unused(self, vm: Any, value: str) -> None:
        """A disk is no longer attached: it becomes the first free unusedN; a cloud-init drive goes."""
        volume, options = split_drive(value)
        if CLOUDINIT.match(volume):
            self._qm_free(volume)
        elif not is_cdrom(volume, options) and volume_ref(volume)[0] in self.storages:
            if volume in (split_drive(x)[0] for k, x in vm.config.items() if k.startswith("unused")):
                return
            free = next(n for n in range(256) if f"unused{n}" not in vm.config)
            vm.config[f"unused{free}"] = volume

    def let_go(self, vm: Any, old: str, new: str | None, force: bool) -> None:
        """What becomes of a drive's old volume when its key is set anew or deleted."""
        volume = split_drive(old)[0]
        if new is not None and split_drive(new)[0] == volume:
            return
        if new is None and force:
            self._qm_free(volume)
        else:
            self.keep_unused(vm, old)

    # ------------------------------------------------------------- resizing

    async def _vm_resize(self, v: dict[str, Any], user: str) -> str:
        vm = self.find(v["node"], v["vmid"])
        if v.get("skiplock") and user != "root@pam":
            raise param_error(skiplock="Only root may use this option.")
        self.need_quorum()

        async def body() -> str | None:
            try:
                changed = self._resized(vm, v, user)
            except PveError as error:
                raise TaskError(error.message) from error
            if changed:
                await self.ceph_io(vm, [v["disk"]])
                await self.real_resize(vm, v["disk"])
            return "Image resized." if changed else None

        upid: str = await self.task(vm.node, "resize", vm.vmid, user, body, vm=vm)
        return upid

    def _disk(self, vm: Any, key: str, verb: str) -> tuple[str, dict[str, str]]:
        if not vm.config.get(key):
            raise die(f"disk '{key}' does not exist")
        volume, options = split_drive(vm.config[key])
        if volume_ref(volume)[0] is None:
            raise die(f"disk '{key}' has no associated volume")
        if is_cdrom(volume, options):
            raise die(f"you can't {verb} a cdrom")
        return volume, options

    def _resized(self, vm: Any, v: dict[str, Any], user: str) -> bool:
        if v.get("digest") and v["digest"] != digest_of(vm):
            raise die("checksum mismatch (file change by other user?)")
        self._check_lock(vm)
        volume, options = self._disk(vm, v["disk"], "resize")
        sid = volume_ref(volume)[0]
        self.require(user, f"/storage/{sid}", "Datastore.AllocateSpace")
        found = self._qm_volume(volume)
        old = _size(options.get("size", "")) or int((found or {}).get("size") or 0)
        text = str(v["size"])
        new = _size(text.lstrip("+")) + (old if text.startswith("+") else 0)
        if new < old:
            raise die("shrinking disks is not supported")
        if new == old:
            return False
        self._take_space(str(sid), new - old)
        if found is not None:
            found["size"] = new
        vm.config[v["disk"]] = join_drive(volume, {**options, "size": format_size(new)})
        return True

    def _take_space(self, sid: str, size: int) -> None:
        store = self.storages[sid]
        if "avail" in store:
            if size > store["avail"]:
                raise die(f"unable to write to storage '{sid}': No space left on device")
            store["avail"] -= size

    # --------------------------------------------------------------- moving

    async def _vm_move(self, v: dict[str, Any], user: str) -> str:
        vm, key, sid = self.find(v["node"], v["vmid"]), v["disk"], v.get("storage")
        if sid is None:
            raise die("target-vmid: moving a disk to another VM is not part of this fake")
        self.require(user, f"/storage/{sid}", "Datastore.AllocateSpace")
        self.need_quorum()
        self._check_lock(vm)
        volume, options = self._disk(vm, key, "move")
        self._qm_image_store(sid, user)
        source = self._qm_volume(volume) or {"format": "raw", "size": _size(options.get("size", ""))}
        if volume_ref(volume)[0] == sid and v.get("format") in (None, source["format"]):
            raise die("you can't move to the same storage with same format")

        async def body() -> str:
            await self.ceph_io(vm, [key])
            try:
                moved, _ = self._qm_alloc(sid, vm.vmid, v.get("format"), int(source["size"]))
            except PveError as error:
                raise TaskError(f"storage migration failed: {error.message}") from error
            vm.config[key] = join_drive(moved, options)
            if v.get("delete"):
                self._qm_free(volume)
            else:
                self.keep_unused(vm, volume)
            return f"create full clone of drive {key} ({volume})"

        upid: str = await self.task(vm.node, "qmmove", vm.vmid, user, body, vm=vm)
        return upid


def _size(text: str) -> int:
    """Bytes of "8G", "512M", "1024"; 0 where it is no size."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    return int(float(found.group(1)) * SIZE_UNITS.get(found.group(2), 1)) if found else 0

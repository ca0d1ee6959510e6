"""Correction: reading and changing a VM's config.

fakepve stores what it is given: `scsi1=local:1` literally, numbers as text, unknown keys, no unused disks.
Recordings 22-45, 69-108, 584-591, 684-694, 917-927, 1065-1103. Source: `update_vm_api` in
PVE/API2/Qemu.pm, `vmconfig_hotplug_pending` and `vmconfig_apply_pending` in PVE/QemuServer.pm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fakepve import PveError, TaskError
from fakepve.qemu import DRIVE_KEY, split_drive
from fakepve.routing import die, param_error, split_list
from fakepve.server import USER

from twin.pve import vm_values
from twin.pve.shown import digest_of, pending_rows, shown_config
from twin.pve.vm_disks import VmDisks


@dataclass
class Change:
    """A checked config request: what to set, delete, revert."""

    sets: dict[str, Any]
    deletes: list[str]
    reverts: list[str]
    force: bool
    digest: str | None
    text: str = ""
    modified: set[str] = field(default_factory=set)


class VmConfig(VmDisks):
    """GET, PUT and POST of /nodes/N/qemu/ID/config, /pending and /unlink."""

    def _routes_vm_unlink(self) -> list[Any]:
        return [("PUT", "/nodes/{node}/qemu/{vmid}/unlink", self._unlink)]

    async def _config_get(self, request: Any) -> Any:
        return await self.through_schema(request, self._vm_read)

    async def _vm_read(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        return shown_config(self.find(v["node"], v["vmid"]), v)

    async def _pending(self, request: Any) -> Any:
        return await self.through_schema(request, self._vm_pending)

    async def _vm_pending(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        return pending_rows(self.find(v["node"], v["vmid"]))

    async def _config_put(self, request: Any) -> Any:
        return await self.through_schema(request, self._vm_put)

    async def _vm_put(self, v: dict[str, Any], user: str) -> None:
        vm, change = self._checked(v, user)
        async with self.config_lock(vm):
            self._check_current(vm, change)
            await self._write(vm, change, user)

    async def _config_post(self, request: Any) -> Any:
        return await self.through_schema(request, self._vm_post)

    async def _vm_post(self, v: dict[str, Any], user: str) -> str | None:
        vm, change = self._checked(v, user)
        async with self.config_lock(vm):
            self._check_current(vm, change)

        async def body() -> None:
            try:
                await self._write(vm, change, user)
            except PveError as error:
                raise TaskError(error.message) from error

        log = [f"update VM {vm.vmid}: {change.text}"]
        upid: str = await self.task(vm.node, "qmconfig", vm.vmid, user, body, vm=vm, log=log)
        record = self.tasks[upid]
        if v.get("background_delay") and record["status"] == "stopped":
            if record["exitstatus"] != "OK":
                raise die(f"failed to update VM {vm.vmid}: {record['exitstatus']}")
            return None
        return upid

    async def _unlink(self, v: dict[str, Any], user: str) -> None:
        keys = {"delete": v["idlist"], "force": v.get("force")}
        await self._vm_put({"node": v["node"], "vmid": v["vmid"], **keys}, user)

    # ---------------------------------------------------------------- checks

    def _checked(self, v: dict[str, Any], user: str) -> tuple[Any, Change]:
        sets = {k: x for k, x in v.items() if k not in (*vm_values.CONTROL, *vm_values.CONTROL_9)}
        if v.get("skiplock") and user != "root@pam":
            raise param_error(skiplock="Only root may use this option.")
        change = Change(
            sets=sets,
            deletes=["ide2" if key == "cdrom" else key for key in _keys(v.get("delete"))],
            reverts=_keys(v.get("revert")),
            force=bool(v.get("force")),
            digest=v.get("digest"),
            text=" ".join(f"-{k} {'<hidden>' if k == 'cipassword' else sets[k]}" for k in sorted(sets)),
        )
        if "sshkeys" in sets:
            _check_keys(str(sets["sshkeys"]))
        if not (sets or change.deletes or change.reverts):
            raise die("no options specified")
        _check_names(change)
        self.need_quorum()
        self.check_vm_keys(user, int(v["vmid"]), None, dict.fromkeys(change.deletes, ""))
        self.check_vm_keys(user, int(v["vmid"]), None, sets)
        vm = self.find(v["node"], v["vmid"])
        for key in (*sets, *change.deletes):  # the bridge that is left counts too: update_vm_api
            if re.fullmatch(r"net\d+", key) and key in vm.config:
                self._check_bridge(user, vm.config[key])
        for key, value in sets.items():
            if DRIVE_KEY.match(key):
                self._qm_check_drive(user, vm.vmid, None, key, value, None)
        return vm, change

    def _check_current(self, vm: Any, change: Change) -> None:
        """What Proxmox checks while it holds the config lock, before it forks a worker."""
        if change.digest and change.digest != digest_of(vm):
            raise die("checksum mismatch (file change by other user?)")
        self._check_lock(vm)
        for key in change.reverts:
            if key in vm.config:
                change.sets[key] = vm.config[key]
            elif key in vm.pending:
                change.deletes.append(key)
        memory = change.sets.get("memory", vm.config.get("memory", 512))
        if int(change.sets.get("balloon") or 0) > int(str(memory).rpartition("=")[2]):
            raise die("balloon value too large (must be smaller than assigned memory)")

    # --------------------------------------------------------------- writing

    async def _write(self, vm: Any, change: Change, user: str) -> None:
        touched = [key for key in [*change.sets, *change.deletes] if DRIVE_KEY.match(key)]
        if touched:
            try:
                await self.ceph_io(vm, touched)
            except TaskError as error:
                raise die(str(error)) from error
        for key in change.deletes:
            self._note_delete(vm, key, change, user)
        for key in sorted(change.sets):
            self._note_set(vm, key, change)
        vm.pending = _still_pending(vm)
        stuck = _stuck(vm, change)
        done = self.apply_vm_pending(vm, change.modified - set(stuck), change.force)
        vm.name = vm.config.get("name") or f"VM {vm.vmid}"
        if done:
            await self.real_change(vm, done)
        if stuck:
            texts = {key: f"hotplug problem - error on hot-unplugging device '{key}'\n" for key in stuck}
            raise param_error(**texts)

    def _note_delete(self, vm: Any, key: str, change: Change, user: str) -> None:
        if key not in vm.config and vm.pending.get(key) is None:
            return
        change.modified.add(key)
        waiting = vm.pending.pop(key, None)
        order = _boot_order(vm)
        if waiting is None and key in order:
            vm.pending["boot"] = "order=" + ";".join(one for one in order if one != key)
            change.modified.add("boot")
        if re.fullmatch(r"unused\d+", key):
            self._protected(vm, f"can't remove unused disk '{vm.config[key]}'")
            self.require(user, f"/storage/{vm.config[key].partition(':')[0]}", "Datastore.AllocateSpace")
            self._qm_free(split_drive(vm.config.pop(key))[0])
            return
        if DRIVE_KEY.match(key):
            self._protected(vm, f"can't remove drive '{key}'")
            if waiting is not None:
                self.keep_unused(vm, waiting)
        if key in vm.config:
            vm.pending[key] = None

    def _note_set(self, vm: Any, key: str, change: Change) -> None:
        change.modified.add(key)
        value = change.sets[key]
        if key == "boot":
            _check_boot(vm, str(value), change.sets)
        if DRIVE_KEY.match(key):
            if vm.pending.get(key) is not None and vm.pending[key] != value:
                self.keep_unused(vm, vm.pending[key])
            value, _ = self._qm_new_drive(vm.vmid, key, value, None)
        else:
            value = vm_values.stored(key, value)
        if key == "description" and value == "":
            # Recording 1100: an empty description is no description.
            vm.config.pop(key, None)
            return
        vm.pending[key] = value

    def apply_vm_pending(self, vm: Any, selection: set[str] | None = None, force: bool = False) -> list[str]:
        """Move pending changes into the config: all at a start, those that a running VM takes otherwise.

        Args:
            vm: the VM.
            selection: the keys to look at; None for all.
            force: whether a deleted disk is destroyed instead of kept as unusedN.

        Returns:
            The keys that changed.
        """
        hotplug = str(vm.config.get("hotplug", "1"))
        done = []
        for key in sorted(vm.pending, key=lambda one: (vm.pending[one] is not None, one)):
            old, new = vm.config.get(key), vm.pending[key]
            if selection is not None and key not in selection and key != "boot":
                continue
            if vm.status == "running" and not vm_values.takes_effect(key, old, new, hotplug):
                continue
            del vm.pending[key]
            if old is not None and DRIVE_KEY.match(key):
                self.let_go(vm, old, new, force)
            if new is None:
                vm.config.pop(key, None)
            else:
                vm.config[key] = new
            done.append(key)
        return done

    def _protected(self, vm: Any, message: str) -> None:
        self._qm_check_protection(vm, message)

    def _vm(self, request: Any, priv: str | None = None) -> Any:
        """Recording 818: who may not see a VM is not told whether it exists."""
        vmid = request.match_info["vmid"]
        if priv and vmid.isdigit():
            self.require(request[USER], f"/vms/{vmid}", priv)
        return super()._vm(request, priv)


def _keys(text: Any) -> list[str]:
    return [key for key in split_list(text) if key]


def _still_pending(vm: Any) -> dict[str, Any]:
    """cleanup_pending: what changes nothing is no longer pending."""
    return {
        key: value
        for key, value in vm.pending.items()
        if (key in vm.config if value is None else vm.config.get(key) != value)
    }


def _stuck(vm: Any, change: Change) -> list[str]:
    """Recording 691: a guest OS that does not answer does not let go of a device."""
    if vm.status != "running" or vm.acpi:
        return []
    return [key for key in change.deletes if re.fullmatch(r"(net|scsi|virtio)\d+", key) and key in vm.pending]


def _check_names(change: Change) -> None:
    for key in change.reverts:
        if not vm_values.known(key):
            raise param_error(revert=f"unknown option '{key}'")
        if key in change.sets:
            raise param_error(delete=f"you can't use '-{key}' and '-revert {key}' at the same time")
    for key in change.deletes:
        if key in change.sets:
            raise param_error(delete=f"you can't use '-{key}' and -delete {key}' at the same time")
        if key in change.reverts:
            raise param_error(revert=f"you can't use '-delete {key}' and '-revert {key}' at the same time")
        if not vm_values.known(key):
            raise param_error(delete=f"unknown option '{key}'")


def _check_keys(text: str) -> None:
    """Recording 922: the keys must look like keys to ssh-keygen."""
    for line in unquote(text).splitlines():
        words = line.split()
        if line.strip() and not (
            len(words) > 1 and words[1].startswith("AAAA") and len(words[1]) > len("AAAA")
        ):
            raise die("SSH public key validation error")


def _boot_order(vm: Any) -> list[str]:
    boot = str(vm.pending.get("boot") or vm.config.get("boot") or "")
    return boot.removeprefix("order=").split(";") if boot.startswith("order=") else []


def _check_boot(vm: Any, value: str, sets: dict[str, Any]) -> None:
    if not value.startswith("order="):
        return
    there = {*vm.config, *(key for key, x in vm.pending.items() if x is not None), *sets}
    for device in value.removeprefix("order=").split(";"):
        if device and device not in there:
            raise param_error(boot=f"invalid bootorder: device '{device}' does not exist'")

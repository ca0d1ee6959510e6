"""Correction: starting, stopping, creating and destroying VMs.

Recordings 46-53 (stop and shutdown of what is stopped end OK), 598-601 (the start of an absent VM is a
failing task), 704-723, 1002-1009 (a start with warnings).
Source: PVE/API2/Qemu.pm, PVE/QemuServer.pm.
"""

from __future__ import annotations

import re
import time
from typing import Any

from fakepve import PveError, TaskError
from fakepve.lxc import split_props
from fakepve.qemu import CREATE_ONLY, DRIVE_KEY
from fakepve.routing import param_error
from fakepve.server import USER, params

from twin.pve.tasks import Tasks
from twin.pve.vm_config import VmConfig
from twin.pve.vm_values import unique_tags

_TAGS_SORTED_SINCE = 9
#: What this class does itself: fakepve would start a guest too early, and restores none.
_OURS = ("start", "archive")


class VmPower(VmConfig, Tasks):
    """The life of a VM."""

    #: Bridges that the node has.
    bridges: set[str]

    def check_bridges(self, guest: Any) -> None:
        """Raise TaskError for the first network card whose bridge the node does not have."""
        for key in sorted(guest.config):
            bridge = split_props(guest.config[key])[1].get("bridge") if re.fullmatch(r"net\d+", key) else None
            if bridge and bridge not in self.bridges:
                raise TaskError(f"bridge '{bridge}' does not exist")

    # ----------------------------------------------------------------- power

    async def _status_action(self, request: Any) -> Any:
        """Recording 598: whether the VM exists is found out by the start task."""
        vmid, node = request.match_info["vmid"], request.match_info["node"]
        if request.match_info["action"] == "start" and vmid.isdigit() and self.vm(int(vmid)) is None:
            return await self.through_schema(request, self._start_absent)
        given = await params(request)
        if given.get("skiplock") and request[USER] != "root@pam":
            raise param_error(skiplock="Only root may use this option.")
        if node not in self.nodes:
            return await self.through_schema(request, self._start_absent)
        return await super()._status_action(request)

    async def _start_absent(self, v: dict[str, Any], user: str) -> str:
        async def body() -> None:
            self.find(v["node"], v["vmid"])

        return await self.task(v["node"], "qmstart", v["vmid"], user, body)

    async def _do_start(self, vm: Any, user: str, p: dict[str, Any]) -> Any:
        if vm.ha_managed and not vm.template:
            return await super()._do_start(vm, user, p)
        return await self.task(vm.node, "qmstart", vm.vmid, user, lambda: self.start_vm(vm), vm=vm)

    async def start_vm(self, vm: Any) -> str | None:
        """What the start task does. Raises TaskError."""
        if vm.template:
            raise TaskError("you can't start a vm if it's a template")
        if vm.lock and vm.lock != "suspended":
            raise TaskError(f"VM is locked ({vm.lock})")
        if vm.status == "running":
            raise TaskError(f"VM {vm.vmid} already running")
        await self.ceph_io(vm)
        await self.pause(vm.start_secs)
        if vm.start_error:
            raise TaskError(vm.start_error)
        self.apply_vm_pending(vm)
        self.check_bridges(vm)
        await self.real_start(vm)
        self._qm_lock(vm, None)
        vm.status = vm.qmpstatus = "running"
        vm.started_at = time.time()
        if vm.config.get("bios") == "ovmf" and "efidisk0" not in vm.config:
            # Recording 1006-1009.
            return "WARN: no efidisk configured! Using temporary efivars disk."
        return None

    async def _do_stop(self, vm: Any, user: str, p: dict[str, Any]) -> Any:
        if vm.ha_managed:
            return await super()._do_stop(vm, user, p)

        async def body() -> None:
            if not p.get("skiplock"):
                self._task_check_lock(vm)
            await self.pause(vm.stop_secs)
            await self._off(vm, clean=False, timeout=0)

        return await self.task(vm.node, "qmstop", vm.vmid, user, body, vm=vm)

    async def _do_shutdown(self, vm: Any, user: str, p: dict[str, Any]) -> Any:
        if vm.ha_managed:
            return await super()._do_shutdown(vm, user, p)

        async def body() -> str | None:
            if vm.status != "running":
                return None
            self._task_check_lock(vm)
            return await self._powerdown(vm, p)

        return await self.task(vm.node, "qmshutdown", vm.vmid, user, body, vm=vm)

    async def _powerdown(self, vm: Any, p: dict[str, Any]) -> str | None:
        timeout = int(p.get("timeout") or self.shutdown_default_timeout)
        try:
            if not vm.acpi or vm.shutdown_secs > timeout:
                await self.pause(timeout)
                raise TaskError("VM quit/powerdown failed - got timeout")
            await self.pause(vm.shutdown_secs)
            await self._off(vm, clean=True, timeout=timeout)
        except TaskError:
            if str(p.get("forceStop", "0")) not in ("1", "True", "true"):
                raise
            await self._off(vm, clean=False, timeout=0)
            return "VM still running - terminating now with SIGTERM"
        return None

    async def _off(self, vm: Any, clean: bool, timeout: float) -> None:
        if vm.status == "running":
            await self.real_stop(vm, clean, timeout)
        vm.status = vm.qmpstatus = "stopped"
        # What waited for a restart is applied when the VM's process is gone (recording 737).
        self.apply_vm_pending(vm)

    async def _do_reboot(self, vm: Any, user: str, p: dict[str, Any]) -> Any:
        self._need_running(vm)

        async def body() -> None:
            self._task_check_lock(vm)
            await self._powerdown(vm, p)
            await self.start_vm(vm)

        return await self.task(vm.node, "qmreboot", vm.vmid, user, body, vm=vm)

    async def _do_suspend(self, vm: Any, user: str, p: dict[str, Any]) -> Any:
        """Recording 720: without `todisk` the task is called qmpause."""
        if str(p.get("todisk", "0")) in ("1", "True", "true"):
            return await super()._do_suspend(vm, user, p)
        self._need_running(vm)

        async def body() -> None:
            self._task_check_lock(vm)
            vm.qmpstatus = "paused"

        return await self.task(vm.node, "qmpause", vm.vmid, user, body, vm=vm)

    @staticmethod
    def _task_check_lock(vm: Any) -> None:
        if vm.lock:
            raise TaskError(f"VM is locked ({vm.lock})")

    # ------------------------------------------------------ create, destroy

    async def _qm_create(self, v: dict[str, Any], user: str) -> Any:
        vmid = int(v["vmid"])
        keys = {k: x for k, x in v.items() if k not in CREATE_ONLY}
        if self._may_allocate(user, vmid, v.get("pool")):
            for key in sorted(keys):
                if DRIVE_KEY.match(key):
                    self._qm_check_drive(user, vmid, v.get("pool"), key, keys[key], v.get("storage"))
            self.check_vm_keys(user, vmid, v.get("pool"), keys)
            if v.get("start"):
                self._qm_perm(user, vmid, v.get("pool"), "VM.PowerMgmt")

        async def finish() -> None:
            vm = self.vm(vmid)
            self._finish_config(vm, v.get("tags"))
            self._qm_lock(vm, "create")
            try:
                await self.real_create(vm, v)
            except TaskError:
                await self._undo_create(vm)
                raise
            self._qm_lock(vm, None)
            if v.get("start"):
                await self.start_vm(vm)

        self.then("qmcreate", vmid, finish)
        try:
            return await super()._qm_create({k: x for k, x in v.items() if k not in _OURS}, user)
        finally:
            self._thens.pop(("qmcreate", vmid), None)

    def _may_allocate(self, user: str, vmid: int, pool: str | None) -> bool:
        """Recording 798: without VM.Allocate nothing else is looked at."""
        return self.allowed(user, f"/vms/{vmid}", "VM.Allocate") or bool(
            pool and self.allowed(user, f"/pool/{pool}", "VM.Allocate")
        )

    def _finish_config(self, vm: Any, tags: str | None) -> None:
        if tags is not None:
            sort = self.major >= _TAGS_SORTED_SINCE
            vm.config["tags"] = unique_tags(tags) if sort else tags
        # Recording 643: nothing to boot from is written down too.
        vm.config.setdefault("boot", " ")
        if "cpulimit" in vm.config:
            vm.config["cpulimit"] = str(vm.config["cpulimit"])

    async def _undo_create(self, vm: Any) -> None:
        for key in [key for key in vm.config if re.fullmatch(r"(ide|sata|scsi|virtio|efidisk)\d+", key)]:
            self._qm_free(vm.config[key].partition(",")[0])
        self.vms.remove(vm)
        self._pool_leave(vm.vmid)

    async def _qm_snapshot(self, v: dict[str, Any], user: str) -> Any:
        return await self._then_real("qmsnapshot", v, super()._qm_snapshot, self.real_snapshot, user)

    async def _qm_snapshot_delete(self, v: dict[str, Any], user: str) -> Any:
        return await self._then_real("qmdelsnapshot", v, super()._qm_snapshot_delete, self.real_forget, user)

    async def _qm_rollback(self, v: dict[str, Any], user: str) -> Any:
        return await self._then_real("qmrollback", v, super()._qm_rollback, self.real_rollback, user)

    async def _then_real(self, kind: str, v: dict[str, Any], base: Any, hook: Any, user: str) -> Any:
        vmid = int(v["vmid"])
        vm = self.vm(vmid)

        async def finish() -> None:
            await hook(vm, v["snapname"])

        self.then(kind, vmid, finish)
        try:
            return await base(v, user)
        finally:
            self._thens.pop((kind, vmid), None)

    async def _qm_clone(self, v: dict[str, Any], user: str) -> Any:
        if self.vm(int(v["vmid"])) is None:
            raise PveError(500, f"unable to find configuration file for VM {v['vmid']} on node '{v['node']}'")
        newid = int(v["newid"])

        async def finish() -> None:
            self.copy_firewall(int(v["vmid"]), newid)
            await self.real_clone(self.vm(int(v["vmid"])), self.vm(newid))

        self.then("qmclone", newid, finish)
        try:
            return await super()._qm_clone(v, user)
        finally:
            self._thens.pop(("qmclone", newid), None)

    async def _qm_destroy(self, v: dict[str, Any], user: str) -> Any:
        vmid = int(v["vmid"])
        vm = self.vm(vmid)

        async def finish() -> None:
            await self.real_destroy(vm)
            self.access.forget_path(f"/vms/{vmid}")

        self.then("qmdestroy", vmid, finish)
        try:
            return await super()._qm_destroy(v, user)
        finally:
            self._thens.pop(("qmdestroy", vmid), None)

"""Correction: creating, starting, stopping and destroying containers.

Recordings 58-65, 224-249, 332-341 (create), 238 (a bridge the node does not have), 411-416 (two cards of
one name), 517 (template), 886-889 (start at creation), 1118-1141 (defaults, what a running create shows).
Source: PVE/API2/LXC.pm, PVE/LXC.pm, PVE/LXC/Setup.pm (pve-container).
"""

from __future__ import annotations

import re
import time
from typing import Any

from fakepve import FakeCt, PveError, TaskError
from fakepve.lxc import CREATE_ONLY, mount_type, normalise, ostype_of, parse_mount
from fakepve.lxc import arch_of as architecture
from fakepve.routing import die, split_list

from twin.pve.ct_config import CtConfig, network_names, stored
from twin.pve.vm_power import VmPower

#: From 9.0 on, `unprivileged` left out means 1, and systemd without nesting is warned about.
_NEW_DEFAULTS_SINCE = 9
#: Distributions whose systemd is newer than 241 (check_systemd_nesting).
_NEW_SYSTEMD = re.compile(r"debian-(1[1-9])|ubuntu-(2\d)|fedora|archlinux|opensuse")


class CtLife(CtConfig, VmPower):
    """The life of a container."""

    async def _lxc_create(self, user: str, v: dict[str, Any]) -> Any:
        if v.get("restore"):
            return await super()._lxc_create(user, v)
        node, vmid, pool = v["node"], int(v["vmid"]), v.get("pool")
        self.need_quorum()
        unprivileged = v.get("unprivileged", int(self.major >= _NEW_DEFAULTS_SINCE))
        if not unprivileged and self.major >= _NEW_DEFAULTS_SINCE:
            self.require(user, "/", "Sys.Modify")
        doomed = self._forced(v)
        if doomed is None:
            self._check_vmid_unused(vmid)
        self._check_create(user, v, vmid, pool)
        params = {key: value for key, value in v.items() if key not in CREATE_ONLY}
        self._check_modify_perm(user, vmid, pool, None, params, [], unprivileged)
        self._check_template(user, v["ostemplate"], False)
        self._check_hookscript(params)
        mounts = self._mounts(params, v, user)
        if doomed is not None:
            self._drop(doomed)
        ct = FakeCt(vmid, node=node, defaults=False, config={"lock": "create"})
        self.cts.append(ct)
        config = _initial(params, v, unprivileged)

        async def body() -> str | None:
            try:
                if doomed is not None:
                    await self._away(doomed)
                await self._build(ct, config, mounts, v)
            except (TaskError, PveError) as error:
                self._drop(ct)
                raise TaskError(f"unable to create CT {vmid} - {error}") from error
            if pool:
                self._pool_join(pool, vmid)
            if v.get("start"):
                await self._start_steps(ct, user)
            return None

        return await self.task(node, "vzcreate", vmid, user, body, vm=ct)

    def _forced(self, v: dict[str, Any]) -> Any:
        """The container that `force=1` overwrites, running or not (PVE-FACTS.md: never send it)."""
        return self._here(v) if v.get("force") else None

    async def _away(self, ct: Any) -> None:
        if ct.status == "running":
            await self.real_stop(ct, clean=False, timeout=0)
        await self.real_destroy(ct)

    def _check_create(self, user: str, v: dict[str, Any], vmid: int, pool: str | None) -> None:
        if pool and pool not in self.pools:
            raise PveError(403, f"Permission check failed (pool '{pool}' does not exist)")
        if v.get("start"):
            self._vm_perm(user, vmid, pool, "VM.PowerMgmt")
        if not self._may_allocate(user, vmid, pool):
            raise PveError(403, "Permission check failed")

    def _mounts(self, params: dict[str, Any], v: dict[str, Any], user: str) -> dict[str, str]:
        default = v.get("storage") or "local"
        mounts = {}
        for key, value in params.items():
            if key == "rootfs" or re.fullmatch(r"mp\d+", key):
                plain = re.fullmatch(r"\d+(\.\d+)?", str(value))
                mounts[key] = f"{default}:{value}" if plain else str(value)
        if mounts and "rootfs" not in mounts:
            raise die("mount points configured, but 'rootfs' not set - aborting")
        mounts.setdefault("rootfs", f"{default}:4")
        for value in mounts.values():
            volume = parse_mount(value).get("volume", "")
            if mount_type(volume) == "volume":
                self._storage_for(volume.partition(":")[0], user)
        return mounts

    async def _build(
        self, ct: Any, config: dict[str, Any], mounts: dict[str, str], v: dict[str, Any]
    ) -> None:
        """The create task's work; until it is done the config holds nothing but its lock."""
        taken = self._taken_volumes()
        await self.pause(self.ct_secs["create"])
        made = {
            key: self._realise(ct.vmid, key, mounts[key], taken) for key in sorted(mounts, key=_rootfs_first)
        }
        try:
            if self.volume_exists(v["ostemplate"]) is not True:
                raise TaskError(f"volume '{v['ostemplate']}' does not exist")
            await self.ceph_io(FakeCt(ct.vmid, defaults=False, config=made), list(made))
            ct.config = {**config, **made, "lock": "create"}
            await self.real_create(ct, v)
        except TaskError:
            for value in made.values():
                self._qm_free(parse_mount(value)["volume"])
            raise
        ct.lock = None
        self._warn_nesting(ct, v["ostemplate"])

    def _warn_nesting(self, ct: Any, template: str) -> None:
        nests = "nesting=1" in split_list(ct.config.get("features"))
        if self.major >= _NEW_DEFAULTS_SINCE and not nests and _NEW_SYSTEMD.search(template):
            self._note(ct, "WARN: Systemd 252 detected. You may need to enable nesting.")

    def _note(self, ct: Any, line: str) -> None:
        """Add a line to the log of the task that holds the guest."""
        record = self.tasks.get(ct.lock_holder)
        if record is not None:
            record["log"].append(line)

    # ----------------------------------------------------------------- power

    async def _start_steps(self, ct: Any, user: str, skiplock: bool = False) -> None:
        if ct.template:
            raise TaskError("you can't start a CT if it's a template")
        if not skiplock:
            self._task_lock(ct, allow=("mounted",))
        await self.ceph_io(ct, [key for key in ct.config if key == "rootfs" or re.fullmatch(r"mp\d+", key)])
        await self.pause(ct.start_secs)
        if ct.start_error:
            raise TaskError(ct.start_error)
        self._apply(ct)
        self.check_bridges(ct)
        names = network_names(ct.config)
        if len(names) != len(set(names)):
            raise TaskError(f"startup for container '{ct.vmid}' failed")
        await self.real_start(ct)
        ct.status = "running"
        ct.started_at = time.time()
        ct.pid = next(self._ct_pids)

    async def _lxc_stop(self, user: str, v: dict[str, Any]) -> Any:
        ct = self._here(v)

        async def finish() -> None:
            await self.real_stop(ct, clean=False, timeout=0)
            self._apply(ct)

        self.then("vzstop", int(v["vmid"]), finish)
        try:
            return await super()._lxc_stop(user, v)
        finally:
            self._thens.pop(("vzstop", int(v["vmid"])), None)

    async def _ct_powerdown(self, ct: Any, timeout: float, force: bool) -> None:
        try:
            if ct.shutdown_secs > timeout:
                await self.pause(timeout)
                raise TaskError("container did not stop")
            await self.pause(ct.shutdown_secs)
            await self.real_stop(ct, clean=True, timeout=timeout)
        except TaskError:
            if not force:
                raise
            await self.real_stop(ct, clean=False, timeout=0)
        ct.status = "stopped"
        ct.pid = None
        # What waited for a restart is applied when the container is down (recording 457).
        self._apply(ct)

    # ------------------------------------------------- snapshots, clone, end

    async def _lxc_snapshot(self, user: str, v: dict[str, Any]) -> Any:
        if v.get("description"):
            v = {**v, "description": stored("description", v["description"])}
        return await self._with_hook("vzsnapshot", v, super()._lxc_snapshot, self.real_snapshot, user)

    async def _lxc_snapshot_delete(self, user: str, v: dict[str, Any]) -> Any:
        return await self._with_hook("vzdelsnapshot", v, super()._lxc_snapshot_delete, self.real_forget, user)

    async def _lxc_rollback(self, user: str, v: dict[str, Any]) -> Any:
        return await self._with_hook("vzrollback", v, super()._lxc_rollback, self.real_rollback, user)

    async def _with_hook(self, kind: str, v: dict[str, Any], base: Any, hook: Any, user: str) -> Any:
        vmid = int(v["vmid"])
        ct = self._here(v)
        if ct is None:
            return await self._absent(kind, v, user)

        async def finish() -> None:
            await hook(ct, v["snapname"])

        self.then(kind, vmid, finish)
        try:
            return await base(user, v)
        finally:
            self._thens.pop((kind, vmid), None)

    async def _absent(self, kind: str, v: dict[str, Any], user: str) -> str:
        """Recordings 296-317: that there is no such container is found out by the task."""

        async def body() -> None:
            self._find_ct(v["node"], v["vmid"])

        return await self.task(v["node"], kind, v["vmid"], user, body)

    async def _lxc_clone(self, user: str, v: dict[str, Any]) -> Any:
        newid = int(v["newid"])

        async def finish() -> None:
            self.copy_firewall(int(v["vmid"]), newid)
            await self.real_clone(self.ct(int(v["vmid"])), self.ct(newid))

        self.then("vzclone", newid, finish)
        try:
            return await super()._lxc_clone(user, v)
        finally:
            self._thens.pop(("vzclone", newid), None)

    async def _lxc_template(self, user: str, v: dict[str, Any]) -> None:
        """Recording 517: null, the work is done when it answers."""
        upid = await super()._lxc_template(user, v)
        running = self._running.get(upid)
        if running is not None:
            await running
        if self.tasks[upid]["exitstatus"] != "OK":
            raise die(self.tasks[upid]["exitstatus"])

    async def _lxc_destroy(self, user: str, v: dict[str, Any]) -> Any:
        ct = self._find_ct(v["node"], v["vmid"])
        was_running = ct.status == "running"

        async def finish() -> None:
            ct.status = "running" if was_running else ct.status
            await self._away(ct)
            ct.status = "stopped"

        self.then("vzdestroy", ct.vmid, finish)
        try:
            return await super()._lxc_destroy(user, v)
        finally:
            self._thens.pop(("vzdestroy", ct.vmid), None)

    def _drop(self, ct: Any) -> None:
        """A container that goes takes its volumes, firewall config and ACL entries with it."""
        super()._drop(ct)
        for config in (ct.config, *ct.snapshots.values()):
            for _, mount in ct.volumes(config):
                self._qm_free(mount["volume"])
        self._fw()["guests"].pop(ct.vmid, None)
        self.access.forget_path(f"/vms/{ct.vmid}")


def _rootfs_first(key: str) -> tuple[bool, str]:
    return key != "rootfs", key


def _initial(params: dict[str, Any], v: dict[str, Any], unprivileged: Any) -> dict[str, Any]:
    """The config of a new container without its volumes."""
    plain = {k: x for k, x in params.items() if not re.fullmatch(r"rootfs|(mp|unused)\d+", k)}
    config = {key: stored(key, normalise(key, value)) for key, value in plain.items() if value != ""}
    defaults = {
        "hostname": f"CT{v['vmid']}",
        "memory": 512,
        "swap": 512,
        "ostype": ostype_of(v["ostemplate"]),
        "arch": architecture(v["ostemplate"]),
    }
    return {**defaults, **config, **({"unprivileged": 1} if unprivileged else {})}

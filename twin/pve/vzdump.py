"""Correction: vzdump backs guests up, and keeps as many backups as it is told.

Recordings 471-493 and 900-907 (tasks, logs, refusals). Source: PVE/API2/VZDump.pm, PVE/VZDump.pm
(pve-manager), `prune_mark_backup_group` in PVE/Storage.pm (pve-storage).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fakepve import PveError, TaskError
from fakepve.routing import param_error, split_list

from twin.pve.archives import Archives, archive_name, kept_config, made_at, stamp

_SELECTIONS = ("vmid", "all", "pool", "exclude")
_ENDINGS = {"zstd": "zst", "1": "lzo", "lzo": "lzo", "gzip": "gz", "0": ""}
#: Of each keep-X, what two moments have in common that count as one.
_PERIODS = {
    "last": "%Y-%m-%d %H:%M:%S",
    "hourly": "%Y-%m-%d %H",
    "daily": "%Y-%m-%d",
    "weekly": "%G-%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What a job was told.

    Args:
        node: where it runs.
        user: who asked.
        storage: where backups go.
        mode: "snapshot", "suspend" or "stop".
        ending: of the compressed file.
        notes: the template of each backup's notes.
        keep: how many are kept, as "keep-last=1,keep-daily=7"; "" for all.
        protected: whether its backups may not be removed.
        everybody: guests that the user may not back up are passed over.
    """

    node: str
    user: str
    storage: str
    mode: str
    ending: str
    notes: str
    keep: str
    protected: bool
    everybody: bool

    @classmethod
    def of(cls, v: Mapping[str, Any], user: str, store: Mapping[str, Any]) -> Job:
        """A request, read. `store` is the storage's configuration."""
        keep = v.get("prune-backups") or store.get("prune-backups") or ""
        return cls(
            node=v["node"],
            user=user,
            storage=v.get("storage") or "local",
            mode=v.get("mode") or "snapshot",
            ending=_ENDINGS[str(v.get("compress") or "0")],
            notes=v.get("notes-template") or "",
            keep=str(keep) if str(v.get("remove", 1)) in ("1", "True") else "",
            protected=str(v.get("protected", 0)) in ("1", "True"),
            everybody=not v.get("vmid"),
        )


class Vzdump(Archives):
    """Backups of guests. One job at a time, as on a real node."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vzdump_lock: asyncio.Lock | None = None

    def _routes_vzdump(self) -> list[Any]:
        return [("POST", "/nodes/{node}/vzdump", self._vzdump)]

    async def _vzdump(self, v: dict[str, Any], user: str) -> str:
        if not any(v.get(key) for key in _SELECTIONS):
            raise param_error(vmid="property is missing")
        sid = v.get("storage") or "local"
        self.require(user, f"/storage/{sid}", "Datastore.AllocateSpace")
        job = Job.of(v, user, self.storages.get(sid, {}))
        vmids = self._chosen(v)
        ident = str(vmids[0]) if len(vmids) == 1 else ""
        line = f"INFO: starting new backup job: vzdump {' '.join(map(str, vmids))} --storage {sid}"

        async def body() -> None:
            def say(text: str) -> None:
                log.append(text)

            log = next(t["log"] for t in reversed(self.tasklog) if _is_running(t, ident))
            self._may_hold_backups(sid)
            self.vzdump_lock = self.vzdump_lock or asyncio.Lock()
            async with self.vzdump_lock:
                say(line)
                failed = [vmid for vmid in vmids if not await self._backed_up(job, vmid, say)]
            say(f"INFO: Backup job finished {'with errors' if failed else 'successfully'}")
            if failed:
                raise TaskError("job errors")

        return await self.task(v["node"], "vzdump", ident, user, body)

    def _chosen(self, v: Mapping[str, Any]) -> list[int]:
        """The guests that a job means: those of its node, unless they are named."""
        if v.get("vmid"):
            return sorted({int(vmid) for vmid in split_list(str(v["vmid"]))})
        out = {int(vmid) for vmid in split_list(str(v.get("exclude") or ""))}
        there = {guest.vmid for guest in (*self.cts, *self.vms) if guest.node == v["node"]}
        members = self.pools.get(v["pool"], ()) if v.get("pool") else there
        return sorted((there & {int(vmid) for vmid in members}) - out)

    def _may_hold_backups(self, sid: str) -> None:
        store, start = self.storages.get(sid), f"could not get storage information for '{sid}': "
        if store is None:
            raise TaskError(f"{start}storage '{sid}' does not exist")
        if "backup" not in split_list(store.get("content")):
            raise TaskError(f"{start}can't use storage '{sid}' for backups - wrong content type")

    async def _backed_up(self, job: Job, vmid: int, say: Say) -> bool:
        """Back one guest up; whether it went well."""
        guest, began = self.guest(vmid), time.monotonic()
        try:
            if guest is None or guest.node != job.node:
                raise TaskError(f"unable to find VM '{vmid}'")
            if not self.allowed(job.user, f"/vms/{vmid}", "VM.Backup"):
                if job.everybody:
                    return True
                raise TaskError(f"Permission check failed (/vms/{vmid}, VM.Backup)")
            await self._back_up(job, guest, say)
        except (TaskError, PveError) as error:
            say(f"ERROR: Backup of VM {vmid} failed - {error}")
            say(f"INFO: Failed at {self._clock()}")
            return False
        say(f"INFO: Finished Backup of VM {vmid} ({_spent(time.monotonic() - began)})")
        say(f"INFO: Backup finished at {self._clock()}")
        return True

    async def _back_up(self, job: Job, guest: Any, say: Say) -> None:
        ct = guest in self.cts
        say(f"INFO: Starting Backup of VM {guest.vmid} ({'lxc' if ct else 'qemu'})")
        say(f"INFO: Backup started at {self._clock()}")
        say(f"INFO: status = {guest.status}")
        if guest.lock:
            raise TaskError(f"{'CT' if ct else 'VM'} is locked ({guest.lock})")
        mode = job.mode if guest.status == "running" else "stop"
        name = guest.config.get("hostname" if ct else "name") or ""
        for line in (f"backup mode: {mode}", "ionice priority: 7", f"{'CT' if ct else 'VM'} Name: {name}"):
            say(f"INFO: {line}")
        self._backup_lock(guest, "backup")
        try:
            await self._archived(job, guest, mode, say)
        finally:
            self._backup_lock(guest, None)

    async def _archived(self, job: Job, guest: Any, mode: str, say: Say) -> None:
        """Write the archive, while the guest rests where the mode says so."""
        rests = mode == "stop" and guest.status == "running"
        moment = int(self.now())
        volume = archive_name(guest in self.cts, guest.vmid, stamp(moment), job.ending)
        if rests:
            say("INFO: stopping virtual guest")
            await self.real_stop(guest, clean=True, timeout=600)
        try:
            say(f"INFO: creating vzdump archive '{self._volume_path(job.storage, volume, 'backup')}'")
            size = await self.real_backup(guest, f"{job.storage}:{volume}")
        finally:
            if rests:
                say("INFO: restarting vm")
                await self.real_start(guest)
        say(f"INFO: archive file size: {size >> 20}MB")
        notes = job.notes.replace("{{guestname}}", guest.name).replace("{{vmid}}", str(guest.vmid))
        notes = notes.replace("{{node}}", guest.node).replace("{{cluster}}", "standalone node")
        self.store_archive(job.storage, volume, size, moment, notes)
        if job.protected:
            self.storages[job.storage]["volumes"][volume]["protected"] = True
        self.archives[f"{job.storage}:{volume}"] = kept_config(guest)
        if job.keep and job.keep != "keep-all=1":
            say(f"INFO: prune older backups with retention: {job.keep}")
            say(f"INFO: pruned {self._prune(job, guest.vmid)} backup(s)")

    def _prune(self, job: Job, vmid: int) -> int:
        volumes = self.storages[job.storage]["volumes"]
        mine = [
            name
            for name, volume in volumes.items()
            if volume["content"] == "backup" and volume["vmid"] == vmid and not volume.get("protected")
        ]
        gone = set(mine) - kept(mine, job.keep)
        for name in gone:
            self.forget_archive(job.storage, name)
        return len(gone)

    def _backup_lock(self, guest: Any, lock: str | None) -> None:
        if guest in self.cts:
            guest.lock = lock
        else:
            self._qm_lock(guest, lock)

    def _clock(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.now()))


def kept(names: Iterable[str], keep: str) -> set[str]:
    """The backups that a retention keeps: of each period the newest, which those of shorter ones are not.

    Args:
        names: volume names of one guest's backups.
        keep: "keep-last=1,keep-daily=7".
    """
    newest = sorted(names, key=made_at, reverse=True)
    counts = {key: int(count) for key, count in re.findall(r"keep-(\w+)=(\d+)", keep)}
    if not counts:
        return set(newest)
    found: dict[str, str] = {}
    for key, form in _PERIODS.items():
        covered = {time.strftime(form, time.gmtime(made_at(name))) for name in found}
        seen: set[str] = set()
        for name in newest:
            period = time.strftime(form, time.gmtime(made_at(name)))
            if name in found or period in covered or period in seen:
                continue
            if len(seen) >= counts.get(key, 0):
                break
            seen.add(period)
            found[name] = key
    return set(found)


def _is_running(task: Mapping[str, Any], ident: str) -> bool:
    return (task["type"], task["id"], task["status"]) == ("vzdump", ident, "running")


def _spent(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))

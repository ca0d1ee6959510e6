"""The fake Proxmox with real guests: what its hooks are told happens to LXC containers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from fakepve.model import TaskError

from hearth.errors import HearthError
from twin.home import Home
from twin.pve import Pve
from twin.pve.archives import kept_config, written
from twin.real.archives import RealArchives
from twin.real.errors import GuestError
from twin.real.guest import RealGuest
from twin.real.spec import Spec, Volume, container, machine
from twin.real.stand_ins import StandIns
from twin.state import Twin

T = TypeVar("T")

#: Whether a shutdown that takes too long ends in a cut of power (`forceStop`).
_FORCE: ContextVar[bool] = ContextVar("force", default=False)

#: Seconds between looks at guests that may have stopped by themselves.
WATCH = 0.5
#: Real seconds of a PVE second: small, but tasks run while requests are answered.
TIME_SCALE = 0.02


class RealPve(StandIns, RealArchives, Pve):
    """A fake whose guests are real.

    Args:
        twin: whose guests they are.
        home: the networks they can be on.
        base: the folder with the guest base.
    """

    def __init__(self, twin: Twin, home: Home, base: Path) -> None:
        super().__init__(host=home.nodes[0].address, port=8006)
        self.twin = twin
        self.home = home
        self.base = base
        self.time_scale = TIME_SCALE
        self.bridges = {segment.bridge for segment in home.segments}

    # ---------------------------------------------------------------- hooks

    async def real_create(self, guest: Any, request: dict[str, Any]) -> None:
        """Make its disks, or take them from a backup."""
        archive = request.get("archive") or (request.get("restore") and request["ostemplate"])
        if archive:
            file = self.archive_file(str(archive))
            await self._do(guest, lambda real, spec: real.restore(spec, file))
            return
        keys = str(request.get("ssh-public-keys") or "")
        password = str(request.get("password") or request.get("cipassword") or "")
        await self._do(guest, lambda real, spec: real.create(spec, self.base, keys, password))

    async def real_backup(self, guest: Any, volid: str) -> int:
        """Write its disks and its configuration into an archive."""
        file, config = self.archive_file(volid), written(kept_config(guest))
        await self._do(guest, lambda real, spec: real.backup(spec, config, file))
        return file.stat().st_size

    async def real_clone(self, source: Any, guest: Any) -> None:
        """Copy the source's disks."""
        await self._do(guest, lambda real, spec: real.clone(spec, self.real(source.vmid)))

    async def real_start(self, guest: Any) -> None:
        """Start the container."""
        await self._do(guest, lambda real, spec: real.start(spec, processors(spec)))

    async def real_stop(self, guest: Any, clean: bool, timeout: float) -> None:
        """Shut it down, or cut its power."""
        real = self.real(guest.vmid)
        if clean and not await asyncio.to_thread(real.shutdown, timeout):
            raise TaskError(
                "container did not stop" if _is_container(guest) else "VM quit/powerdown failed - got timeout"
            )
        await asyncio.to_thread(real.kill)

    async def real_change(self, guest: Any, keys: list[str]) -> None:
        """Make and drop volumes; bring limits and interfaces to a running guest."""
        await self._do(guest, lambda real, spec: real.sync_volumes(spec, self._named_volumes(guest)))
        if guest.status == "running":
            await self._do(guest, lambda real, spec: real.change(spec, processors(spec)))

    async def real_resize(self, guest: Any, disk: str) -> None:
        """Grow a disk."""
        volume = self._volume(guest, disk)
        if volume is not None:
            await self._do(guest, lambda real, _spec: real.grow(volume))

    async def real_snapshot(self, guest: Any, name: str) -> None:
        """Copy its disks aside."""
        await self._do(guest, lambda real, _spec: real.snapshot(name))

    async def real_rollback(self, guest: Any, name: str) -> None:
        """Bring its disks back.

        A container that was to start again has done so too early, and does it again.
        """
        await asyncio.to_thread(self.real(guest.vmid).kill)
        await self._do(guest, lambda real, _spec: real.rollback(name))
        if guest.status == "running":
            await self.real_start(guest)

    async def real_forget(self, guest: Any, name: str) -> None:
        """Drop a snapshot's copies."""
        await self._do(guest, lambda real, _spec: real.forget(name))

    async def real_destroy(self, guest: Any) -> None:
        """Remove it."""
        await asyncio.to_thread(self.real(guest.vmid).kill)
        await asyncio.to_thread(self.real(guest.vmid).destroy)

    def lose(self, guest: Any) -> None:
        """Forget a guest whose disks are gone, and all that spoke of it."""
        if _is_container(guest):
            self._drop(guest)
            return
        self.vms.remove(guest)
        self._pool_leave(guest.vmid)
        self._fw()["guests"].pop(guest.vmid, None)
        self.access.forget_path(f"/vms/{guest.vmid}")

    # ---------------------------------------------------------------- truth

    def real(self, vmid: int) -> RealGuest:
        """The real guest of a VMID."""
        return RealGuest(self.twin, self.home, vmid)

    def everyone(self) -> list[Any]:
        """Every container and VM."""
        return [*self.cts, *self.vms]

    def adopt_reality(self) -> None:
        """After this process was killed: statuses are what is true, tasks that ran are over, leftovers go."""
        for guest in self.everyone():
            running = self.real(guest.vmid).running()
            set_status(guest, running)
            guest.lock_holder = guest.lock_released = None
        known = {str(guest.vmid) for guest in self.everyone()}
        for path in self.twin.guests.iterdir():
            if path.name.isdigit() and path.name not in known:
                self.real(int(path.name)).kill()
                self.real(int(path.name)).destroy()

    async def watch(self) -> None:
        """Notice, for ever, guests that stopped by themselves."""
        while True:
            await asyncio.sleep(WATCH)
            busy = {task["id"] for task in self.tasklog if task["status"] == "running"}
            for guest in self.everyone():
                real = self.real(guest.vmid)
                if guest.status == "running" and str(guest.vmid) not in busy and not real.running():
                    set_status(guest, False)
                    with suppress(HearthError):
                        await asyncio.to_thread(real.settle)

    async def _agent_call(self, match: Any, values: Any) -> Any:
        """A guest agent answers where it is configured and installed, with the guest's own addresses."""
        vm = self.vm(int(values["vmid"]))
        if vm is not None:
            real = self.real(vm.vmid)
            answers = machine(vm.vmid, vm.config).agent and vm.status == "running" and real.has_agent()
            vm.agent = {"interfaces": await asyncio.to_thread(real.interfaces)} if answers else None
        return await super()._agent_call(match, values)

    async def _do(self, guest: Any, action: Callable[[RealGuest, Spec], T]) -> T:
        """Act on the real guest in a thread; what goes wrong is the task's error, with LXC's log."""
        real, spec = self.real(guest.vmid), read(guest)
        try:
            return await asyncio.to_thread(action, real, spec)
        except GuestError as error:
            self.note(guest, error.log)
            raise TaskError(str(error)) from error
        except (HearthError, OSError) as error:
            raise TaskError(str(error)) from error

    def note(self, guest: Any, lines: list[str]) -> None:
        """Put lines into the log of the guest's running task."""
        running = [t for t in self.tasklog if t["id"] == str(guest.vmid) and t["status"] == "running"]
        if running:
            running[-1]["log"].extend(lines)

    def _volume(self, guest: Any, key: str) -> Volume | None:
        spec = read(guest)
        return next((volume for volume in spec.volumes if volume.key == key), None)

    def _named_volumes(self, guest: Any) -> set[str]:
        """Every volume that the configuration or a snapshot names, unused ones too."""
        values = [value for config in (guest.config, *guest.snapshots.values()) for value in config.values()]
        return {str(value).split(",")[0] for value in values if ":" in str(value)}


def read(guest: Any) -> Spec:
    """The guest's configuration as it holds now."""
    return container(guest.vmid, guest.config) if _is_container(guest) else machine(guest.vmid, guest.config)


def processors(spec: Spec) -> list[int]:
    """The machine's processors that a guest of so many cores may use; different guests get different ones."""
    there = sorted(os.sched_getaffinity(0))
    count = min(spec.cores or len(there), len(there))
    return sorted(there[(spec.vmid + n) % len(there)] for n in range(count))


def set_status(guest: Any, running: bool) -> None:
    """Let the fake know whether a guest runs."""
    guest.status = "running" if running else "stopped"
    if _is_container(guest):
        guest.pid = guest.pid or 1 if running else None
    else:
        guest.qmpstatus = guest.status


def _is_container(guest: Any) -> bool:
    return str(guest.guest).startswith("lxc/")

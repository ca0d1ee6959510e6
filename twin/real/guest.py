"""One real guest: an LXC container with its disks, in the twin's namespaces.

Everything here runs in the API process, which lives in those namespaces. A failure is a `GuestError` in LXC's
words.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hearth.errors import HearthError
from twin import cgroups
from twin.base import FIRST_ID
from twin.commands import run, works
from twin.home import Home
from twin.real import inside, live, passthrough
from twin.real.archive import Disks, nothing, pack, unpack
from twin.real.disks import Disk, discard
from twin.real.errors import GuestError, errors_of
from twin.real.lxcconf import Places, apparmor, lxc_config
from twin.real.spec import Spec, Volume
from twin.state import Twin, read_json, write_json
from twin.wall import plug

START_LIMIT = 30
KILL_LIMIT = 20


class RealGuest:
    """A guest by its VMID, whether it exists or not.

    Args:
        twin: whose it is.
        home: the networks it can be on.
        vmid: its VMID.
    """

    def __init__(self, twin: Twin, home: Home, vmid: int) -> None:
        self.twin = twin
        self.home = home
        self.vmid = vmid
        self.dir = twin.guests / str(vmid)
        self.root = self.dir / "root"
        self.group = f"{twin.cgroup}/{vmid}"
        self._facts = self.dir / "guest.json"
        self._images = bool(twin.load().get("images"))

    # ------------------------------------------------------------- existence

    def exists(self) -> bool:
        """Whether it was created whole."""
        return self._facts.exists()

    def create(self, spec: Spec, base: Path, keys: str = "", password: str = "") -> None:
        """Make its disks and its first files."""
        self._clear()
        self.dir.mkdir(mode=0o711)
        for volume in spec.volumes:
            self._disk(volume.volume).make(volume.size)
        self._remember(spec, base, first={"keys": keys or spec.keys, "password": password})

    def clone(self, spec: Spec, source: RealGuest) -> None:
        """Make it a copy of another guest, disk by disk."""
        self._clear()
        self.dir.mkdir(mode=0o711)
        facts = read_json(source._facts)
        for key, volume in facts["volumes"].items():
            own = next((v for v in spec.volumes if v.key == key), None)
            if own is not None:
                source._disk(volume).copy_to(self._disk(own.volume).image)
        self._remember(spec, Path(facts["base"]), first={"keys": spec.keys, "password": ""})

    def restore(self, spec: Spec, file: Path) -> None:
        """Make it from a backup: its disks hold what the archive holds, and nothing of the base.

        Raises:
            GuestError: the archive is not whole; nothing of the guest is left.
        """
        self._clear()
        self.dir.mkdir(mode=0o711)
        for volume in spec.volumes:
            self._disk(volume.volume).make(volume.size)
        try:
            unpack(file, self._disks(spec))
        except BaseException:
            self.destroy()
            raise
        volumes = {volume.key: volume.volume for volume in spec.volumes}
        write_json(self._facts, {"base": str(nothing(self.twin)), "volumes": volumes})

    def backup(self, spec: Spec, config: str, file: Path) -> None:
        """Write an archive of its disks as they are now, running or not."""
        pack(file, self._disks(spec), config, Path(read_json(self._facts)["base"]))

    def destroy(self) -> None:
        """Remove all of it; it is stopped."""
        self._unmount()
        discard(self.dir)
        cgroups.remove(self.group)

    # ----------------------------------------------------------------- power

    def running(self) -> bool:
        """Whether its monitor lives. (The monitor's death kills the guest, by its parent-death signal.)"""
        return bool(cgroups.members(f"{self.group}/monitor"))

    def init_pid(self) -> int | None:
        """The process id of the guest's own process 1."""
        said = run("lxc-info", "-P", str(self.twin.guests), "-n", str(self.vmid), "-pH", ok=(0, 1)).strip()
        return int(said) if said.isdigit() and int(said) > 0 else None

    def start(self, spec: Spec, cpus: list[int]) -> None:
        """Start it; returns when its process 1 runs.

        Raises:
            GuestError: LXC would not.
        """
        passthrough.check(spec)
        self._mount(spec)
        files = inside.Files(self.root, spec)
        self._first_boot(files, spec)
        inside.before_start(files, spec, self.home)
        for nic in spec.nics:
            live.connect(self.vmid, nic)
        config = lxc_config(spec, self._places(spec), cpus)
        (self.dir / "config").write_text(config)
        (self.dir / "lxc.log").write_text("")
        cgroups.kill(self.group)
        cgroups.remove(self.group)
        try:
            run(
                *("lxc-start", "-P", str(self.twin.guests), "-n", str(self.vmid), "-d"),
                *("-f", str(self.dir / "config"), "-l", "WARN", "-o", str(self.dir / "lxc.log")),
                timeout=START_LIMIT,
            )
        except HearthError as error:
            log = errors_of((self.dir / "lxc.log").read_text(errors="replace"))
            self.kill()
            raise GuestError(f"startup for container '{self.vmid}' failed", log or [error.reason]) from error
        live.applied(self.dir, spec)

    def shutdown(self, timeout: float) -> bool:
        """Ask it to shut down; whether it did within so many seconds."""
        with suppress(HearthError):
            run(
                *(
                    "lxc-stop",
                    "-P",
                    str(self.twin.guests),
                    "-n",
                    str(self.vmid),
                    "--nokill",
                    "-t",
                    str(int(timeout)),
                ),
                timeout=timeout + 10,
            )
        return self._gone(1)

    def kill(self) -> None:
        """Cut its power."""
        works("lxc-stop", "-P", str(self.twin.guests), "-n", str(self.vmid), "-k", timeout=KILL_LIMIT)
        if not self._gone(1):
            cgroups.kill(self.group)
        self._unmount()

    def settle(self) -> None:
        """Clean up after it stopped by itself."""
        if not self.running():
            self._unmount()

    def change(self, spec: Spec, cpus: list[int]) -> None:
        """Bring what changed to the running guest, as Proxmox does at once."""
        pid = self.init_pid()
        if pid is not None:
            live.limits(self.group, spec, cpus)
            live.nics(self.dir, spec, pid)

    # ----------------------------------------------------------------- disks

    def grow(self, volume: Volume) -> None:
        """Grow a disk to its size."""
        self._disk(volume.volume).grow(volume.size)

    def sync_volumes(self, spec: Spec, kept: set[str]) -> None:
        """Make volumes that are new, and remove those that nothing names any more.

        Args:
            spec: the guest as it is now.
            kept: the volumes that its configuration and snapshots name, unused ones too.
        """
        facts = read_json(self._facts)
        known = {v.key: v.volume for v in spec.volumes}
        for volume in spec.volumes:
            if not self._disk(volume.volume).image.exists():
                self._disk(volume.volume).make(volume.size)
        for image in (self.dir / "disks").glob("*"):
            if image.name not in {_file_name(name) for name in kept} and not image.name.startswith("."):
                disk = Disk(image, self.dir / "volumes" / image.name, self._images)
                if not os.path.ismount(disk.place):
                    disk.remove()
        if facts.get("volumes") != known:
            write_json(self._facts, {**facts, "volumes": known})

    def snapshot(self, name: str) -> None:
        """Keep its disks as they are now."""
        for volume in set(read_json(self._facts)["volumes"].values()):
            self._disk(volume).copy_to(self.dir / "snapshots" / name / _file_name(volume))

    def rollback(self, name: str) -> None:
        """Bring back its disks; it is stopped."""
        self._unmount()
        for copy in (self.dir / "snapshots" / name).iterdir():
            Disk(self.dir / "disks" / copy.name, self.dir / "none", self._images).copy_from(copy)

    def forget(self, name: str) -> None:
        """Remove a snapshot's copies."""
        discard(self.dir / "snapshots" / name)

    # --------------------------------------------------------------- details

    def has_agent(self) -> bool:
        """Whether the guest agent is installed in it (its service cannot run in a container)."""
        return (self.root / "usr/sbin/qemu-ga").exists()

    def interfaces(self) -> list[dict[str, Any]]:
        """Its interfaces, as the guest agent names them (network-get-interfaces)."""
        pid = self.init_pid()
        return live.interfaces(pid) if pid else []

    def _remember(self, spec: Spec, base: Path, first: dict[str, str]) -> None:
        volumes = {volume.key: volume.volume for volume in spec.volumes}
        write_json(self._facts, {"base": str(base), "volumes": volumes, "first": first})

    def _first_boot(self, files: inside.Files, spec: Spec) -> None:
        facts = read_json(self._facts)
        first = facts.pop("first", None)
        if first is not None:
            inside.first_boot(files, spec, first["keys"], first["password"])
            write_json(self._facts, facts)

    def _disk(self, volume: str) -> Disk:
        name = _file_name(volume)
        return Disk(self.dir / "disks" / name, self.dir / "volumes" / name, self._images)

    def _disks(self, spec: Spec) -> Disks:
        return Disks(spec, self.dir, {v.key: self._disk(v.volume) for v in spec.volumes})

    def _places(self, spec: Spec) -> Places:
        return Places(
            root=self.root,
            volumes={volume.volume: self._disk(volume.volume).place for volume in spec.volumes},
            devices=passthrough.devices(self.dir / "devices", spec),
            group=self.group,
            unified=cgroups.unified(),
            apparmor=apparmor(),
        )

    def _mount(self, spec: Spec) -> None:
        """Mount its disks and join the root disk to the base."""
        for volume in spec.volumes:
            self._disk(volume.volume).mount()
        if os.path.ismount(self.root):
            return
        self.root.mkdir(mode=0o755, exist_ok=True)
        disk = self._disk(spec.root.volume).place
        lower = Path(read_json(self._facts)["base"]) / ("unpriv" if spec.unprivileged else "priv")
        shift = FIRST_ID if spec.unprivileged else 0
        for name in ("upper", "work"):
            (disk / name).mkdir(exist_ok=True)
            os.chown(disk / name, shift, shift)
        discard(disk / "work/work/incompat")  # what `volatile` leaves to say that it was used
        options = (
            f"lowerdir={lower},upperdir={disk / 'upper'},workdir={disk / 'work'},redirect_dir=on,volatile"
        )
        run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        for volume in spec.mounts:
            if not volume.bound and spec.unprivileged:
                os.chown(self._disk(volume.volume).place, FIRST_ID, FIRST_ID)

    def _unmount(self) -> None:
        """Let go of what only a running guest has: its small bridges, its mounts."""
        plug.unplug_all(self.vmid)
        for place in (self.root, *(self.dir / "volumes").glob("*")):
            deadline = time.monotonic() + KILL_LIMIT
            while os.path.ismount(place) and not works("umount", str(place)):
                if time.monotonic() > deadline:
                    run("umount", "-l", str(place))
                time.sleep(0.02)

    def _gone(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while self.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        self._unmount()
        return True

    def _clear(self) -> None:
        """Remove what a killed creation left."""
        if self.dir.exists():
            self.destroy()


def _file_name(volume: str) -> str:
    return volume.replace("/", "_").replace(":", "_")

"""What of the node a guest is given: bridges, devices, directories."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twin.base import FIRST_ID
from twin.real.errors import GuestError
from twin.real.spec import Device, Spec


def check(spec: Spec) -> None:
    """What the node refuses before LXC is asked: PVE/LXC.pm vm_start, PVE/Network.pm.

    Raises:
        GuestError: something is not there.
    """
    bridges = {path.name for path in Path("/sys/class/net").iterdir()}
    for nic in spec.nics:
        if nic.bridge and nic.bridge not in bridges:
            raise GuestError(f"bridge '{nic.bridge}' does not exist")
    for device in spec.devices:
        if not Path(device.path).exists():
            raise GuestError(f"Device {device.path} does not exist")
    for mount in spec.mounts:
        if mount.bound and not Path(mount.volume).is_dir():
            raise GuestError(f"directory '{mount.volume}' does not exist")


def devices(folder: Path, spec: Spec) -> tuple[tuple[Path, str], ...]:
    """Make a node for each devN, with the guest's owner and mode; returns each with what it is ("c 10:200").

    Args:
        folder: where to make them.
        spec: the guest.
    """
    shift = FIRST_ID if spec.unprivileged else 0
    folder.mkdir(mode=0o711, exist_ok=True)
    return tuple(_device(folder / str(n), device, shift) for n, device in enumerate(spec.devices))


def _device(node: Path, device: Device, shift: int) -> tuple[Path, str]:
    node.unlink(missing_ok=True)
    facts = Path(device.path).stat()
    os.mknod(node, stat.S_IFMT(facts.st_mode) | device.mode, facts.st_rdev)
    os.chown(node, device.uid + shift, device.gid + shift)
    node.chmod(device.mode)
    kind = "b" if stat.S_ISBLK(facts.st_mode) else "c"
    return node, f"{kind} {os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}"

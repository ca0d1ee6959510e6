"""The few keys that only root may set, through the node's SSH: the client of node_wrapper.py.

No API token may set a container's devN, features other than nesting, or bind mounts, nor a VM's usbN
(PVE::LXC::check_ct_modify_config_perm, PVE::API2::Qemu::check_vm_modify_config_perm).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hearth.errors import HearthError
from hearth.fleet.model import Kind
from hearth.proxmox import properties

Run = Callable[[Sequence[str]], tuple[int, str, str]]
BY_ID = "/dev/serial/by-id/"
WRAPPER = "/usr/local/sbin/hearth-node"  # where node_wrapper.py is installed
TAILNET = " --tailnet"  # after it, in the line of a key that may bring the node itself into the tailnet
TOOLS: dict[Kind, str] = {"lxc": "pct", "vm": "qm"}


@dataclass(frozen=True)
class Device:
    """A device of the node: `path` as guests name it, `target` the device node, `usb` vendor:product."""

    path: str
    target: str
    gid: int | None = None
    usb: str = ""


class NodeShell:
    """What the wrapper on a node does for us.

    Args:
        run: runs an argv on the node over SSH and gives exit code, stdout and stderr.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._devices: tuple[Device, ...] | None = None

    def devices(self) -> tuple[Device, ...]:
        """The serial devices and /dev/net/tun of the node; asked once.

        Raises:
            HearthError: the wrapper is not there or does not answer as it should.
        """
        if self._devices is None:
            out = self._do("list the node's devices", ["devices"])
            try:
                self._devices = tuple(Device(**row) for row in json.loads(out))
            except (TypeError, ValueError) as error:
                raise HearthError("list the node's devices", f"it answered {out[:80]!r}", _INSTALL) from error
        return self._devices

    def why_not_whole(self, volid: str) -> str:
        """Why a backup is no good; nothing where the node could read all of it, as long as that takes.

        Args:
            volid: of a file: STORAGE:backup/vzdump-...

        Raises:
            HearthError: the node cannot say.
        """
        action = f"have the node read {volid}"
        out = self._do(action, ["backup", "check", volid])
        try:
            told = json.loads(out)
            return "" if told["whole"] is True else str(told["reason"] or "it cannot be read")
        except (TypeError, ValueError, KeyError) as error:
            raise HearthError(action, f"it answered {out[:80]!r}", _INSTALL) from error

    def set_root_only(self, vmid: int, kind: Kind, keys: Mapping[str, str]) -> None:
        """Set keys of a guest of ours with `pct set` or `qm set`.

        Args:
            keys: Proxmox's keys and values; a VM's usbN may be a path: it becomes host=VENDOR:PRODUCT.

        Raises:
            HearthError: the wrapper refuses it, or a stick is missing or moved.
        """
        argv = [TOOLS[kind], "set", str(vmid)]
        for key, value in sorted(keys.items()):
            argv += [f"--{key}", self._resolved(key, value)]
        self._do(f"set {', '.join(sorted(keys))} of guest {vmid} on the node", argv)

    def _resolved(self, key: str, value: str) -> str:
        if key.startswith("usb") and value.startswith("/"):
            device = self._present(value)
            if not device.usb:
                raise HearthError(
                    f"give {value} to a VM", "its vendor and product are not known", "is it USB?"
                )
            return f"host={device.usb}"
        path = properties.parse(value, "path").get("path", "")
        if path.startswith(BY_ID):
            self._present(path)  # the node would only say that it is not there
        return value

    def _present(self, path: str) -> Device:
        found = next((device for device in self.devices() if device.path == path), None)
        if found is None:
            raise missing(path, self.devices())
        return found

    def _do(self, action: str, argv: Sequence[str]) -> str:
        code, out, err = self._run(argv)
        if code != 0:
            told = (err or out).strip() or f"exit code {code}"
            raise HearthError(action, told, _INSTALL if "not found" in told else "")
        return out


def authorized_line(public: str, tailnet: bool = False) -> str:
    """The line for the node's authorized_keys: this key may run the wrapper and nothing else (sshd(8)).

    `restrict` forbids a terminal, forwarding of ports, agents and X11, tunnels, and ~/.ssh/rc.

    Args:
        public: the key, as a `.pub` file has it.
        tailnet: it may bring the node itself into the tailnet, too.
    """
    return f'restrict,command="{WRAPPER}{TAILNET if tailnet else ""}" {public}'


_INSTALL = "is the wrapper installed on the node? `hearth doctor` says how"


def missing(path: str, present: Sequence[Device]) -> HearthError:
    """The error for a device that is not there: moved, if the same stick shows under another name."""
    action = f"use device {path}"
    others = [device.path for device in present if device.path.startswith(BY_ID)]
    moved = next((other for other in others if _stick(other) == _stick(path)), None)
    if moved is not None:
        return HearthError(
            action, f"the stick is there, but it moved to {moved}", "write that in the fleet file"
        )
    there = f"present are {', '.join(others)}" if others else "the node has no serial device"
    return HearthError(action, f"there is no such device; {there}", "plug it in, or mend the fleet file")


def _stick(path: str) -> str:
    """A by-id name without its interface and port (`-if00-port0`): what stays when a stick is replugged."""
    return path.removeprefix(BY_ID).rpartition("-if")[0] or path.removeprefix(BY_ID)

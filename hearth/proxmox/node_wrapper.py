#!/usr/bin/python3 -I
"""The one thing that Hearth's SSH key may do on a Proxmox node. Standard library only.

Install as /usr/local/sbin/hearth-node (root, 0755) and bind the key in /root/.ssh/authorized_keys:

    restrict,command="/usr/local/sbin/hearth-node" ssh-ed25519 AAAA... hearth

It allows, for guests of this node whose configuration carries the tag `hearth`, and nothing else:

    pct set VMID --devN PATH[,gid=N][,uid=N][,mode=0NNN] --features KEY=VALUE[,...] --mpN DIR,mp=PATH[,ro=1]
    qm set VMID --usbN host=VENDOR:PRODUCT
    devices

The request comes in SSH_ORIGINAL_COMMAND; no shell ever sees it. `man sshd`, AUTHORIZED_KEYS FILE FORMAT.
Nothing else of the client's environment counts: Python is isolated (-I), and the tools get one of their own.
The options --root, --pct and --qm are for tests; a client cannot give them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import syslog
from collections.abc import Sequence
from pathlib import Path

TAG = "hearth"
VMID = re.compile(r"[1-9][0-9]{2,8}")
DEVICES = re.compile(
    r"/dev/(?:net/tun|serial/by-id/[A-Za-z0-9][\w.:+-]*|tty(?:USB|ACM)\d+|dri/(?:card|renderD)\d+)", re.ASCII
)
DEVICE_OPTION = re.compile(r"(?:gid|uid)=\d{1,9}|mode=0[0-7]{3}|deny-write=[01]", re.ASCII)
KEYS = {
    "pct": re.compile(r"--(?:dev\d{1,3}|mp\d{1,3}|features)", re.ASCII),
    "qm": re.compile(r"--usb\d{1,2}", re.ASCII),
}
FEATURE = re.compile(r"(?:nesting|keyctl|fuse|mknod|force_rw_sys)=[01]|mount=[a-z0-9]+(?:;[a-z0-9]+)*")
USB = re.compile(r"host=[0-9a-fA-F]{4}:[0-9a-fA-F]{4}(?:,usb3=[01])?")
DIRECTORY = re.compile(r"/[\w@.+:-]+(?:/[\w@.+:-]+)*", re.ASCII)
MOUNT_OPTION = re.compile(r"(?:ro|backup|shared|replicate)=[01]")
# Whoever could mount these into a container would own the node.
SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "usr",
    "var",
)
CONFIGS = {"pct": "lxc", "qm": "qemu-server"}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


class Refused(Exception):  # noqa: N818
    """A request that is not one of those above; its text says why."""


def parse(command: str, root: Path) -> list[str]:
    """The argv of an allowed request.

    Args:
        command: SSH_ORIGINAL_COMMAND. root: "/" but in tests.

    Raises:
        Refused: it is not allowed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"the command cannot be read: {error}") from error
    if words == ["devices"]:
        return words
    if len(words) < 5 or len(words) % 2 == 0 or words[0] not in CONFIGS or words[1] != "set":  # noqa: PLR2004
        raise Refused("allowed are `pct set VMID --KEY VALUE`, `qm set VMID --usbN VALUE` and `devices`")
    tool, vmid = words[0], words[2]
    for key, value in zip(words[3::2], words[4::2], strict=True):
        _check(tool, key, value, root)
    _ours(tool, vmid, root)
    return words


def _check(tool: str, key: str, value: str, root: Path) -> None:
    if not KEYS[tool].fullmatch(key):
        raise Refused(f"{tool} set {key} is not allowed")
    if key.startswith("--usb"):
        good = bool(USB.fullmatch(value))
    elif key.startswith("--dev"):
        good = _device(value, root)
    elif key.startswith("--mp"):
        good = _mount(value, root)
    else:
        good = all(FEATURE.fullmatch(part) for part in value.split(","))
    if not good:
        raise Refused(f"the value of {key} is not allowed: {value}")


def _device(value: str, root: Path) -> bool:
    path, *options = value.split(",")
    if not DEVICES.fullmatch(path) or not all(DEVICE_OPTION.fullmatch(option) for option in options):
        return False
    there = _inside(path, root)
    if not there.exists():
        raise Refused(f"there is no device {path}")
    # A link could lead to a disk. In tests (root) device nodes cannot always be made.
    return root != Path("/") or stat.S_ISCHR(there.stat().st_mode)


def _mount(value: str, root: Path) -> bool:
    source, *options = value.split(",")
    paths = [option for option in options if option.startswith("mp=")]
    others = [option for option in options if not option.startswith("mp=")]
    if len(paths) != 1 or not _plain(source) or not _plain(paths[0][3:]):
        return False
    if not all(MOUNT_OPTION.fullmatch(option) for option in others):
        return False
    there = _inside(source, root).resolve()
    if not there.is_dir():
        raise Refused(f"there is no directory {source}")
    inside = there.relative_to(root.resolve()) if there.is_relative_to(root.resolve()) else None
    return inside is not None and bool(inside.parts) and inside.parts[0] not in SYSTEM


def _plain(path: str) -> bool:
    return bool(DIRECTORY.fullmatch(path)) and ".." not in path.split("/")


def _ours(tool: str, vmid: str, root: Path) -> None:
    if not VMID.fullmatch(vmid):
        raise Refused(f"{vmid} is no VMID")
    path = _inside(f"/etc/pve/{CONFIGS[tool]}/{vmid}.conf", root)
    if not path.is_file():
        raise Refused(f"there is no guest {vmid} on this node")
    if TAG not in _tags(path.read_text(encoding="utf-8", errors="replace")):
        raise Refused(f"guest {vmid} does not carry the tag {TAG}")


def _tags(config: str) -> set[str]:
    """The tags of a guest's configuration; snapshots and what is pending come after the first [section]."""
    for line in config.splitlines():
        if line.startswith("["):
            break
        if line.startswith("tags:"):
            return set(re.split(r"[;,\s]+", line.removeprefix("tags:").strip()))
    return set()


def devices(root: Path) -> list[dict[str, object]]:
    """The serial devices by id, and tun: path, target, gid of the target, vendor:product where known."""
    found = [
        f"/dev/serial/by-id/{entry.name}" for entry in sorted(_listed(_inside("/dev/serial/by-id", root)))
    ]
    return [_described(path, root) for path in [*found, "/dev/net/tun"] if _inside(path, root).exists()]


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _described(path: str, root: Path) -> dict[str, object]:
    target = _inside(path, root).resolve()
    shown = "/" + str(target.relative_to(root.resolve())) if target.is_relative_to(root.resolve()) else path
    return {"path": path, "target": shown, "gid": target.stat().st_gid, "usb": _usb(target.name, root)}


def _usb(name: str, root: Path) -> str:
    """vendor:product of a tty: the first directory upwards in /sys that has them."""
    start = _inside(f"/sys/class/tty/{name}/device", root)
    if not start.exists():
        return ""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "idVendor").is_file():
            return ":".join((folder / key).read_text().strip() for key in ("idVendor", "idProduct"))
    return ""


def _inside(path: str, root: Path) -> Path:
    return root / path.lstrip("/")


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Do what SSH_ORIGINAL_COMMAND asks for, if it is allowed; the exit code is the tool's, or 1."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--root", type=Path, default=Path("/"))
    options.add_argument("--pct", default="/usr/sbin/pct")
    options.add_argument("--qm", default="/usr/sbin/qm")
    given = options.parse_args(argv)
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "") if command is None else command
    syslog.openlog("hearth-node", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        words = parse(asked, given.root)
    except Refused as refusal:
        syslog.syslog(syslog.LOG_WARNING, f"refused: {asked[:200]!r}: {refusal}")
        print(f"hearth-node: {refusal}", file=sys.stderr)
        return 1
    syslog.syslog(syslog.LOG_INFO, f"allowed: {shlex.join(words)}")
    if words == ["devices"]:
        print(json.dumps(devices(given.root)))
        return 0
    tool = given.pct if words[0] == "pct" else given.qm
    argv = [tool, *words[1:]]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, env=ENVIRONMENT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""The control groups of a twin: whom it may kill, and what its guests may use.

cgroup v1 has one tree per controller, v2 one for all (tested: v1; v2 is written for). The twin's groups lie
directly below the root, as Proxmox's own `lxc/VMID` do: `hearth-twin/NAME/helpers` and `hearth-
twin/NAME/VMID/{monitor,payload}`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hearth.errors import HearthError

ROOT = Path("/sys/fs/cgroup")
HELPERS = "helpers"
PATIENCE = 15
# Each of the machine's own processes weighs as much as a whole group: eight guests with the weight of one
# process wait long for their turn on a busy machine.
SHARES = {"cpu.shares": "16384", "cpu.weight": "1600"}  # as sixteen processes; v1 and v2


def unified(root: Path = ROOT) -> bool:
    """Whether the machine has cgroup v2 alone."""
    return (root / "cgroup.controllers").exists()


def trees(root: Path = ROOT) -> list[Path]:
    """The root of each hierarchy."""
    if unified(root):
        return [root]
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def tree(controller: str, root: Path = ROOT) -> Path:
    """The root of the hierarchy that has a controller."""
    return root if unified(root) else root / controller


def prepare(group: str) -> None:
    """Make the groups of a twin; on v2, hand the controllers down."""
    for top in trees():
        (top / group).mkdir(parents=True, exist_ok=True)
        if unified():
            for path in (top, top / Path(group).parts[0], top / group):
                with suppress(OSError):
                    (path / "cgroup.subtree_control").write_text("+cpu +cpuset +memory +pids")
    for path in (tree("cpu") / Path(group).parts[0], tree("cpu") / group):
        for name, value in SHARES.items():
            if (path / name).exists():
                (path / name).write_text(value)
    (tree("pids") / group / HELPERS).mkdir(exist_ok=True)


def enter_helpers(group: str) -> None:
    """Put this very process among the twin's helpers, so that `down` finds it and its children."""
    helpers(group).write_text(str(os.getpid()))


def helpers(group: str) -> Path:
    """The file that takes the ids of the twin's helpers."""
    return tree("pids") / group / HELPERS / "cgroup.procs"


def members(group: str) -> set[int]:
    """The processes of a group and of all groups below it."""
    found: set[int] = set()
    for top in trees():
        for path in _below(top / group):
            with suppress(OSError):
                found.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
    return found


def kill(group: str) -> None:
    """Kill every process of a group, but not this one and those that started it.

    Raises:
        HearthError: some would not die.
    """
    spared = set(_lineage())
    deadline = time.monotonic() + PATIENCE
    while remaining := members(group) - spared:
        _thaw(group)
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HearthError(f"end the processes of {group}", f"still there: {sorted(remaining)}")
        time.sleep(0.02)


def remove(group: str) -> None:
    """Remove a group and all below it; nothing where it is not there.

    Raises:
        HearthError: one of them is still in use.
    """
    deadline = time.monotonic() + PATIENCE
    for top in trees():
        for path in reversed(list(_below(top / group))):
            while path.exists():
                try:
                    path.rmdir()
                except OSError as error:
                    if time.monotonic() > deadline:
                        raise HearthError(f"remove the cgroup {path}", str(error)) from error
                    time.sleep(0.02)
        with suppress(OSError):  # other twins may be in it
            (top / group).parent.rmdir()


def _below(path: Path) -> Iterator[Path]:
    """A folder and all below it, parents first."""
    for where, _folders, _files in os.walk(path):
        yield Path(where)


def _thaw(group: str) -> None:
    """A frozen process cannot die on v1."""
    for path in _below(tree("freezer") / group):
        with suppress(OSError):
            (path / "freezer.state").write_text("THAWED")
        with suppress(OSError):
            (path / "cgroup.freeze").write_text("0")


def _lineage() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pid = int(fields[1])

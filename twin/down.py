"""`twin down`: leave nothing, whatever was killed before."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from hearth.errors import HearthError
from twin import base, cgroups, namespace, packages, sysctls
from twin.real.disks import release_loops
from twin.state import Twin, others

PATIENCE = 10


def down(twin: Twin, purge: bool = False) -> None:
    """Take the twin away: processes, mounts, namespaces, links, cgroups, sysctls, files.

    The guest base stays.

    Args:
        twin: which; nothing happens to others.
        purge: remove the guest base too, unless another twin stands on it.

    Raises:
        HearthError: not root, or something would not go.
    """
    packages.need_root()
    with twin.locked():
        cgroups.kill(twin.cgroup)
        _kill_inhabitants(twin)
        namespace.remove(twin)
        release_loops(twin.dir)
        cgroups.remove(twin.cgroup)
        if twin.dir.exists():
            twin.forget()
        with twin.locked("home"):
            sysctls.restore(twin)
            if purge and not others(twin):
                base.purge(twin)
    (twin.home / f".{twin.name}.lock").unlink(missing_ok=True)


def _kill_inhabitants(twin: Twin) -> None:
    """Kill who is in the twin's namespaces without being in its cgroups: somebody entered by hand."""
    spared = {os.getpid(), os.getppid()}
    deadline = time.monotonic() + PATIENCE
    while remaining := _inhabitants(twin) - spared:
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HearthError("end what runs in the twin's namespaces", f"still there: {sorted(remaining)}")
        time.sleep(0.02)


def _inhabitants(twin: Twin) -> set[int]:
    wanted = set()
    for kind, path in (("net", twin.netns_file), ("mnt", twin.mount_ns)):
        with suppress(OSError):
            facts = path.stat()
            wanted.add((kind, facts.st_dev, facts.st_ino))
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        for kind in ("net", "mnt"):
            with suppress(OSError):
                facts = (process / "ns" / kind).stat()
                if (kind, facts.st_dev, facts.st_ino) in wanted:
                    found.add(int(process.name))
    return found

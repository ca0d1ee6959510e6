"""What the API process remembers over its own death.

Everything of the fake's state that can be written down.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import time
from pathlib import Path
from typing import Any

from twin.state import write_atomically

#: State of this process, not of the cluster.
_OWN = {
    *(
        "runner",
        "twin",
        "home",
        "base",
        "host",
        "port",
        "bridges",
        "fetch",
        "faults",
        "memory",
        "files",
        "wall",
        "log",
        "requests",
        "vzdump_lock",
    ),
    *("time_scale", "latency", "network", "failures", "tickets", "_random", "_running", "_thens"),
}


class _Pickler(pickle.Pickler):
    """Leaves out what only means something in this process: an event somebody waits for."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, asyncio.Event):
            return type(None), ()
        return NotImplemented


class Memory:
    """Keeps the state of a fake in a file.

    Args:
        pve: the fake.
        file: root-only file.
    """

    def __init__(self, pve: Any, file: Path) -> None:
        self.pve = pve
        self.file = file
        self._unwritable: set[str] = set()
        self._last = b""

    def save(self) -> None:
        """Write the state, where it changed; a crash leaves the old or the new."""
        data = self._dump()
        if data != self._last:
            write_atomically(self.file, data)
            self._last = data

    def load(self) -> bool:
        """Take the state back; whether there was any."""
        if not self.file.exists():
            return False
        state = pickle.loads(self.file.read_bytes())
        vars(self.pve).update({key: value for key, value in state.items() if key not in _OWN})
        for task in self.pve.tasklog:
            if task["status"] == "running":
                task.update(status="stopped", exitstatus="unexpected status", endtime=int(time.time()))
        return True

    def _dump(self) -> bytes:
        while True:
            state = {k: v for k, v in vars(self.pve).items() if k not in _OWN | self._unwritable}
            try:
                return _pickled(state)
            except (TypeError, AttributeError, pickle.PicklingError):
                bad = {key for key, value in state.items() if not _can(value)}
                if not bad:
                    raise
                self._unwritable |= bad


def _pickled(value: Any) -> bytes:
    out = io.BytesIO()
    _Pickler(out).dump(value)
    return out.getvalue()


def _can(value: Any) -> bool:
    try:
        _pickled(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True

"""Small files that must survive a crash and a second run: atomic writes, and a lock between processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hearth.errors import HearthError

POLL = 0.05  # seconds between two tries for the lock


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file whole: after a crash there is the old content or the new, never a part.

    Args:
        path: the file; its directory exists.
        data: the new content.
        mode: permission bits, set before the first byte is written.

    Raises:
        OSError: the directory cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(directory: Path, wait: float = 30.0) -> Iterator[None]:
    """Hold a directory against other processes (flock(2) on the directory: no lock file stays behind).

    Polls instead of blocking, so that other greenlets of this process go on.

    Args:
        directory: an existing directory.
        wait: seconds until giving up.

    Raises:
        HearthError: somebody else held it all the time.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        _take(handle, directory, time.monotonic() + wait)
        yield
    finally:
        os.close(handle)


def _take(handle: int, directory: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise HearthError(
                    f"lock {directory}", "another process holds it", "wait until the other run has ended"
                ) from None
            time.sleep(POLL)
        else:
            return

"""One run at a time: two that change the same home would undo each other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hearth.errors import HearthError

_held: list[int] = []  # open for the life of the process: the kernel frees the lock, however we end


def hold_lock(path: Path) -> None:
    """Take the lock until this process ends.

    Args:
        path: the lock file; made where it is missing.

    Raises:
        HearthError: another run holds it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.read(handle, 32).decode(errors="replace").strip()
        os.close(handle)
        raise HearthError(
            "start a run",
            f"another one is under way{f' (process {other})' if other else ''}",
            "wait for it to end; a dry run (--dry) may go beside it",
        ) from error
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    _held.append(handle)


def holder(path: Path) -> str | None:
    """Who holds the lock, in words for a sentence; None where nobody does. It is not taken.

    Args:
        path: the lock file; it may be missing.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        other = os.read(handle, 32).decode(errors="replace").strip()
        return f" (process {other})" if other else ""
    finally:
        os.close(handle)  # and with it our part of the lock
    return None

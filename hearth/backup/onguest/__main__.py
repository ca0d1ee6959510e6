"""`hearth-state dump`: this guest's state to stdout. `hearth-state restore [ROLE...]`: from stdin.

SETTINGS is JSON: "guest", its name, and "state", a list of what the roles keep (role `state` writes it).
Exit code 0 where all is well; of `dump` also where a single role failed: the manifest has it, and the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bring import RestoreError, bring
from .save import save
from .stream import StreamError

SETTINGS = Path("/etc/hearth/state.json")
LOCK = Path("/run/hearth-state.lock")
SPOOL = Path("/var/lib/hearth-state/incoming")


def main(arguments: list[str], settings: Path = SETTINGS, lock: Path = LOCK, spool: Path = SPOOL) -> int:
    """Run a command; its exit code."""
    command, *roles = arguments or ["?"]
    if command not in ("dump", "restore") or (command == "dump" and roles):
        print("usage: hearth-state dump | restore [ROLE...]", file=sys.stderr)
        return 2
    found: dict[str, Any] = json.loads(settings.read_text())
    try:
        with alone(lock):
            if command == "dump":
                for piece in save(found["guest"], found["state"], sys.stdout.buffer).pieces:
                    if piece.error:
                        print(f"{piece.name}: {piece.error}", file=sys.stderr)
                sys.stdout.buffer.flush()
            else:
                bring(found["state"], sys.stdin.buffer, spool, print, roles)
    except (StreamError, RestoreError, OSError) as error:
        print(f"cannot {command} the state of {found['guest']}: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def alone(lock: Path, waits: bool = False) -> Iterator[None]:
    """Only one at a time.

    Args:
        lock: the file that says so.
        waits: until the other one has ended.

    Raises:
        OSError: another one is at work.
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise OSError("another dump or restore is at work (wait for it)") from None
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

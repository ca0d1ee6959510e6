"""`hearth-state dump`: this guest's state to stdout. `hearth-state restore [ROLE...]`: from stdin.

`keep ROLE APP UNIT OLD NEW [TRIED]`, `undo APP NEW` and `forget APP`: a role's data from before an upgrade.
SETTINGS is JSON: "guest", its name, and "state", a list of what the roles keep (role `state` writes it).
Exit code 0 where all is well; of `dump` also where a single role failed: the manifest has it, and the rest.
3 where data are neither of the old release nor of the new one, 4 where an upgrade was refused and they are as
they were, 1 for any other failure.
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
from .upgrade import Change, HalfwayError, UpgradeError, forget, keep, undo

SETTINGS = Path("/etc/hearth/state.json")
LOCK = Path("/run/hearth-state.lock")
SPOOL = Path("/var/lib/hearth-state/incoming")


# How many words follow a command.
COMMANDS = {"dump": (0, 0), "restore": (0, 99), "keep": (5, 6), "undo": (2, 2), "forget": (1, 1)}
CODES = {HalfwayError: 3, UpgradeError: 4}
USAGE = (
    "usage: hearth-state dump | restore [ROLE...] | "
    "keep ROLE APP UNIT OLD NEW [TRIED] | undo APP NEW | forget APP"
)


def main(arguments: list[str], settings: Path = SETTINGS, lock: Path = LOCK, spool: Path = SPOOL) -> int:
    """Run a command; its exit code."""
    command, *words = arguments or ["?"]
    least, most = COMMANDS.get(command, (1, 0))
    if not least <= len(words) <= most:
        print(USAGE, file=sys.stderr)
        return 2
    found: dict[str, Any] = json.loads(settings.read_text())
    try:
        # An upgrade waits for the night's backup; a second backup does not wait for the first.
        with alone(lock, waits=command in ("keep", "undo")):
            _run(command, words, found, spool)
    except (StreamError, RestoreError, UpgradeError, OSError) as error:
        print(f"cannot {command} the state of {found['guest']}: {error}", file=sys.stderr)
        return next((code for kind, code in CODES.items() if isinstance(error, kind)), 1)
    return 0


def _run(command: str, words: list[str], found: dict[str, Any], spool: Path) -> None:
    if command == "dump":
        for piece in save(found["guest"], found["state"], sys.stdout.buffer).pieces:
            if piece.error:
                print(f"{piece.name}: {piece.error}", file=sys.stderr)
        sys.stdout.buffer.flush()
    elif command == "restore":
        bring(found["state"], sys.stdin.buffer, spool, print, words)
    elif command == "keep":
        role, *rest = words
        _say(keep(Change(*rest), [entry for entry in found["state"] if entry["role"] == role]))
    elif command == "undo":
        _say(undo(*words))
    else:
        forget(words[0])


def _say(text: str) -> None:
    if text:
        print(text)


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

"""The twin's long-lived processes.

Started apart, remembered by id and start time, never looked for by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hearth.errors import HearthError
from twin import cgroups
from twin.state import Twin, read_json, write_json

PATIENCE = 10


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none (or only its corpse).

    Source: proc(5), field 22 of /proc/PID/stat. With the id it names one process for ever.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def start(twin: Twin, role: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Start a process of the twin and remember it.

    Args:
        role: what it is; its log is LOG/role.log.
        argv: program and arguments.
        env: its whole environment; None: this process's own.

    Returns:
        Its process id.
    """
    _end_forgotten(twin, list(argv))
    with (twin.logs / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            # In its group before it runs at all: a killed `up` loses nothing.
            ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroups.helpers(twin.cgroup)), *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=env,
            start_new_session=True,
        )
    known = read_json(_file(twin))
    known[role] = {"pid": process.pid, "started": started_at(process.pid)}
    write_json(_file(twin), known)
    return process.pid


def _end_forgotten(twin: Twin, argv: list[str]) -> None:
    """End the same program of an `up` that was killed before it could remember it: it holds the port."""
    known = {entry["pid"] for entry in read_json(_file(twin)).values()}
    for pid in map(int, cgroups.helpers(twin.cgroup).read_text().split()):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
            # `nsenter ... -- PROGRAM` has become PROGRAM, or is still the shell before it.
            same = len(words) > 1 and (argv[-len(words) :] == words or words[-len(argv) :] == argv)
            if same and pid not in known:
                os.kill(pid, signal.SIGKILL)


def alive(twin: Twin, role: str) -> int | None:
    """The id of a process that runs, None where it does not."""
    entry = read_json(_file(twin)).get(role)
    if not entry or entry["started"] is None or started_at(entry["pid"]) != entry["started"]:
        return None
    return int(entry["pid"])


def stop(twin: Twin, role: str) -> None:
    """End a process, politely first; nothing where it does not run."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE
        while pid := alive(twin, role):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def last_words(twin: Twin, role: str, lines: int = 5) -> str:
    """The end of a process's log."""
    path = twin.logs / f"{role}.log"
    return "; ".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def must_live(twin: Twin, role: str) -> None:
    """Raise HearthError with its last words where a process has died."""
    if alive(twin, role) is None:
        raise HearthError(f"start the twin's {role}", last_words(twin, role) or "it died without a word")


def _file(twin: Twin) -> Path:
    return twin.private / "processes.json"

"""Commands of a drill: in a session of their own, so that Ctrl-C is ours, and they are ended with us."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hearth.errors import HearthError

GRACE = 60.0  # seconds that an interrupted command gets to end by itself
LAST_LINES = 12
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Commands:
    """Runs commands.

    Args:
        project: where.
        log: a file that gets all they say.
        say: told each line.
    """

    def __init__(self, project: Path, log: Path, say: Callable[[str], None]) -> None:
        self._project, self._log, self._say = project, log, say

    def run(self, what: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """Run a command to its end; what it wrote to stdout.

        Args:
            what: it does, for errors.
            argv: the command.
            env: its environment.

        Raises:
            HearthError: it did not end with 0; its last lines.
            KeyboardInterrupt: we were told to end; it has ended too.
        """
        process = subprocess.Popen(
            argv,
            cwd=self._project,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        heard: dict[str, list[str]] = {"out": [], "err": []}
        ears = [
            threading.Thread(target=self._hear, args=(stream, heard[name]), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for ear in ears:
            ear.start()
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            for ear in ears:
                ear.join(GRACE)
        if code:
            words = " | ".join([*heard["err"], *heard["out"]][-LAST_LINES:])
            raise HearthError(what, words or f"it ended with {code}")
        return "\n".join(heard["out"])

    def _hear(self, stream: object, lines: list[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            text = line.rstrip("\n")
            lines.append(text)
            with self._log.open("a") as out:
                out.write(text + "\n")
            self._say(text)


def _end(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C would, then without mercy."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and a hung-up terminal are a Ctrl-C: what was made is taken away.

    So is SIGINT where whoever started us ignores it: commands would ignore it too.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Nobody's signal ends what takes things away, but the one that nobody can refuse."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

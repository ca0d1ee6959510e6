"""Run the system's own tools: errors are checked, time is limited, output is kept for the message."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from hearth.errors import HearthError


def run(
    *argv: str,
    timeout: float = 60,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    ok: Sequence[int] = (0,),
) -> str:
    """Run a program and return its standard output.

    Args:
        argv: program and arguments; never a shell.
        timeout: seconds until it is killed.
        stdin: text to feed it.
        env: its whole environment; None: this process's own.
        ok: exit codes that are no error.

    Raises:
        HearthError: it is missing, took too long, or ended with another code; with its last words.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, env=env, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise HearthError(f"run {argv[0]}", "it is not installed", "`twin up` installs it") from error
    except subprocess.TimeoutExpired as error:
        raise HearthError(f"run {' '.join(argv)}", f"it took longer than {timeout:g} s") from error
    if done.returncode not in ok:
        words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise HearthError(f"run {' '.join(argv)}", "; ".join(words[-4:]))
    return done.stdout


def works(*argv: str, timeout: float = 60) -> bool:
    """Whether a program runs and ends with 0."""
    try:
        run(*argv, timeout=timeout)
    except HearthError:
        return False
    return True

"""Ctrl-C where Python ignores exceptions: the run still knows, and its exit code is true."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, signal, types
from pyinfra_cli import cli
from hearth.commandline import corrections

run = types.SimpleNamespace(interrupted=False, executing=True, options=types.SimpleNamespace(json=False))
corrections._interrupted_is_not_success(run)
corrections._exit_code_tells_the_truth(run)

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

closing = Closing()
del closing
print("Python went on", flush=True)
cli._exit()
"""


def test_an_interrupt_that_python_swallows_is_no_success() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Python went on" in done.stdout, "the exception was to be swallowed"
    assert "Traceback" not in done.stderr, "what was being ended is nothing to the admin"
    assert done.returncode == 130, done.stderr

"""The `hearth` command in a project of its own: what it prints is what an admin sees."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hearth.cli import main

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]
OURS = ("PROXMOX_", "HEARTH_", "TAILSCALE_")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, where we are; nothing of this machine's settings counts."""
    for folder in ("inventory", "roles"):
        (tmp_path / folder).mkdir()
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hearth(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hearth:
    """Run `hearth ARGUMENTS` in this process; `stdin` is piped in, further names are the environment."""

    def run(*arguments: str, stdin: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch:
            given = {"HEARTH_AGE_KEY_FILE": str(project / "config" / "age.key"), **environ}
            for name, value in given.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), newline=""))
            capsys.readouterr()
            code = main(arguments)
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(list(arguments), code, shown.out, shown.err)

    return run

"""The fleet's own files among the backups: the secrets as they are, encrypted, the fleet file, the phones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra import context

from hearth import run as runs
from hearth.backup.keeping import COLLECTOR, FLEET, USER
from hearth.ops import files
from hearth.ops.files import File
from hearth.phones.registry import phones_file

if TYPE_CHECKING:
    from hearth.run import Run


def keep_fleet() -> None:
    """Have the fleet's files on the guest that keeps backups; nothing on others.

    The last step of a run: whatever it put into the secrets is in them.
    """
    run = runs.current()
    name = context.host.name
    if run.is_guest(name) and COLLECTOR in run.fleet.guest(name).roles:
        files.present(name="Keep the fleet's own files among the backups", files=fleet_files(run))


def fleet_files(run: Run) -> list[File]:
    """The files, each as it is when it is asked for."""
    there = {
        "secrets.age": run.secrets.path,
        "fleet.yaml": run.fleet_file,
        "phones.yaml": phones_file(run.project, run.fleet_file, run.environ),
    }
    return [_kept(name, path) for name, path in there.items() if path.exists() or name == "secrets.age"]


def _kept(name: str, path: Path) -> File:
    def text() -> str:
        # A dry run of a fleet that has no secrets yet.
        return path.read_text(encoding="utf-8") if path.exists() else ""

    return File(f"{FLEET}/{name}", text, USER, USER, "600", secret=True)

"""What is true of every `pyinfra inventory ...` of this project; config.py calls `prepare`."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from hearth import run
from hearth.commandline import corrections
from hearth.errors import HearthError
from hearth.lock import hold_lock
from hearth.options import Options


def prepare(project: Path) -> None:
    """Make ready the one run of this process: inventory folder, true exit codes, lock.

    Args:
        project: the folder with deploy.py, inventory/, roles/.

    Raises:
        HearthError: Hearth is not installed, or another run is under way.
    """
    _require_connectors()
    options = Options.from_command_line()
    current = run.begin(project, options)
    corrections.apply(current)
    if options.may_change:
        hold_lock(current.state_dir / "lock")


def _require_connectors() -> None:
    # Without our entry points pyinfra says "Invalid connector: guest" and nothing else.
    names = {entry.name for entry in entry_points(group="pyinfra.connectors")}
    if "guest" not in names:
        raise HearthError(
            "load the inventory",
            "Hearth is not installed in the Python that runs pyinfra",
            "run: pip install -r requirements.txt",
        )

"""What of a guest's roles a backup must hold, as the programs on guests read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hearth.fleet.model import Guest
from hearth.ops.files import File
from hearth.role.declaration import Role

LIBRARY = "/usr/local/lib/hearth/hearth_backup"  # what the programs of `onguest` are called there
SOURCES = Path(__file__).parent / "onguest"


def entries(guest: Guest, roles: Mapping[str, Role]) -> list[dict[str, Any]]:
    """The states of a guest's roles, in the roles' order on it: ROLE-NUMBER and what the declaration says."""
    return [
        {
            "name": f"{name}-{number}",
            "role": name,
            "path": state.path,
            "dump": state.dump,
            "restore": state.restore,
            "before": state.before,
            "unless": state.unless,
            "units": list(state.units),
            "apart": list(state.apart),
        }
        for name in guest.roles
        if name in roles
        for number, state in enumerate(roles[name].state)
    ]


def programs(*names: str) -> list[File]:
    """Modules of `onguest`, by name, where guests have them."""
    return [File(f"{LIBRARY}/{name}.py", (SOURCES / f"{name}.py").read_text()) for name in names]

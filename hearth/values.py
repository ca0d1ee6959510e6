"""What an admin may tune: the values of group_data/, and a file that wins over them.

HEARTH_OVERRIDES names that file: YAML, `name: value`. A digital twin is described by one: what it must do in
another way than the home it stands for. It may name several, with `:` between them; the last one wins.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hearth.errors import HearthError

VARIABLE = "HEARTH_OVERRIDES"


def overrides(environ: Mapping[str, str], project: Path) -> dict[str, Any]:
    """The values of the files that HEARTH_OVERRIDES names; none where it is not set.

    Args:
        environ: environment variables.
        project: what a relative path is relative to.

    Raises:
        HearthError: a file cannot be read, or is no mapping of names to values.
    """
    found: dict[str, Any] = {}
    for named in filter(None, environ.get(VARIABLE, "").split(os.pathsep)):
        found |= _read(project / named)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HearthError(f"read {path}, which {VARIABLE} names", " ".join(str(error).split())) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) and key.isidentifier() for key in found):
        raise HearthError(f"use {path}, which {VARIABLE} names", "it is no mapping", "write `name: value`")
    return found


def tuned(project: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Every value of group_data/*.py, the overrides before them; for what runs outside of pyinfra.

    Each role's values begin with its name, so that all files together are one mapping.

    Raises:
        HearthError: a file cannot be executed, or the overrides cannot be read.
    """
    found: dict[str, Any] = {}
    for path in sorted((project / "group_data").glob("*.py")):
        found |= _public(path)
    return found | overrides(environ, project)


def _public(path: Path) -> dict[str, Any]:
    try:
        values = runpy.run_path(str(path))
    except Exception as error:
        raise HearthError(f"read {path}", f"{type(error).__name__}: {error}", "mend the file") from error
    return {name: value for name, value in values.items() if not name.startswith("_")}

"""The last drill, from the file that it leaves in the state folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hearth.errors import HearthError

FILE: Final = "drill.json"


@dataclass(frozen=True)
class Stage:
    """One stage of a drill.

    Args:
        name: what was done.
        begins, seconds: after the drill's start, and how long it took.
        ok: it worked.
        note: what is to be said about it.
    """

    name: str
    begins: float
    seconds: float
    ok: bool
    note: str = ""


@dataclass(frozen=True)
class Drill:
    """A drill.

    Args:
        began: when.
        stages: in order.
        total: seconds, all of it.
    """

    began: datetime
    stages: tuple[Stage, ...]
    total: float

    @property
    def good(self) -> bool:
        """Everything worked."""
        return all(stage.ok for stage in self.stages)


def read(file: Path) -> Drill | None:
    """The last drill; None where there was none.

    `{"began": ISO 8601, "stages": [{"name": ..., "seconds": ..., "ok": ..., "note": ...}]}`; a stage may say
    when it `begins`, in seconds after the start, else it follows the one before it.

    Raises:
        HearthError: the file cannot be read, or is something else.
    """
    try:
        return of(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HearthError(f"read {file}", str(error)) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HearthError(
            f"read {file}", f"it is no drill's result ({error})", "run the drill again"
        ) from None


def of(found: Mapping[str, Any]) -> Drill:
    """A drill, of the file's content. Raises ValueError, TypeError or KeyError where it is none."""
    stages: list[Stage] = []
    clock = 0.0
    for each in found["stages"]:
        begins, seconds = float(each.get("begins", clock)), float(each["seconds"])
        stages.append(
            Stage(str(each["name"]), begins, seconds, each["ok"] is True, str(each.get("note") or ""))
        )
        clock = begins + seconds
    total = max((stage.begins + stage.seconds for stage in stages), default=0.0)
    return Drill(datetime.fromisoformat(found["began"]), tuple(stages), total)

"""Every pin against its source, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from hearth.errors import HearthError
from hearth.outdated.pins import Pin
from hearth.outdated.sources import Web
from hearth.outdated.versions import is_newer, newest

CURRENT, FAILED, NEWER = 0, 1, 2
WORKERS: Final = 8


@dataclass(frozen=True)
class Row:
    """A pin, and what there is.

    Args:
        pin: it.
        newest: the newest version; empty where it is not known.
        near: the newest with the same first number, where that is another one.
        error: why it is not known.
    """

    pin: Pin
    newest: str = ""
    near: str = ""
    error: str = ""

    @property
    def outdated(self) -> bool:
        """Whether something newer is known."""
        return any(is_newer(each, self.pin.version) for each in (self.newest, self.near) if each)

    def to_json(self) -> dict[str, Any]:
        """For `--json`; see docs/outdated.md."""
        return {
            "name": self.pin.name,
            "pinned": self.pin.version,
            "newest": self.newest or None,
            "newest_same_major": self.near or self.newest or None,
            "outdated": self.outdated,
            "where": self.pin.where,
            "source": self.pin.source.place,
            "error": self.error or None,
        }


def judged(pin: Pin, offered: Iterable[str]) -> Row:
    """A pin against what its source offers: pure."""
    offered = list(offered)
    best = newest(offered)
    if best is None:
        return Row(pin, error=f"{pin.source.place} offers nothing that can be compared with {pin.version}")
    near = newest(offered, like=pin.version) or ""
    return Row(pin, best, near if near != best else "")


def look(pins: Sequence[Pin], web: Web) -> list[Row]:
    """A row for each pin; one that cannot be asked stops no other."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(lambda pin: _look(pin, web), pins))


def _look(pin: Pin, web: Web) -> Row:
    try:
        return judged(pin, pin.source.versions(web))
    except HearthError as error:
        return Row(pin, error=str(error))


def code(rows: Iterable[Row]) -> int:
    """The exit code: 1 where something could not be asked, 2 where something is newer, else 0."""
    rows = list(rows)
    return (
        FAILED if any(row.error for row in rows) else NEWER if any(row.outdated for row in rows) else CURRENT
    )

"""Where a value stands in the fleet file, so that the admin finds the line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hearth.fleet import source
from hearth.fleet.mistakes import Place, Report
from hearth.fleet.model import Guest


@dataclass(frozen=True)
class Line:
    """A line of the fleet file.

    Args:
        number: counted from 1.
        own: it is the guest's own; else a default's, and others follow it too.
        at: the line of the guest's entry.
    """

    number: int
    own: bool
    at: int


def line_of(file: Path, guest: Guest, key: str) -> Line:
    """Where a key of a guest stands.

    Args:
        file: the fleet file, which has no mistakes.
        guest: one of its guests.
        key: e.g. "memory".
    """
    report = Report(str(file))
    source.read(file, report)
    entry: Place = ("guests", guest.group or guest.name)
    places: tuple[Place, ...] = ((*entry, key), ("defaults", guest.kind, key), ("defaults", key))
    place = next((place for place in places if place in report.lines), entry)
    return Line(report.line(place), place == places[0], report.line(entry))

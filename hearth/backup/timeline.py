"""How long a restore took, stage by stage, against what is promised. Pure, but for the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hearth.backup.proof import Proven


@dataclass(frozen=True)
class Objectives:
    """What is promised.

    Args:
        critical_roles: the roles whose services are critical.
        critical: until they serve again.
        everything: until all does.
        state_roles: the roles whose data may be as old as `state`.
        state: how old it may be.
        configuration: how old all other data may be.
    """

    critical_roles: frozenset[str]
    critical: timedelta
    everything: timedelta
    state_roles: frozenset[str]
    state: timedelta
    configuration: timedelta


@dataclass(frozen=True)
class Event:
    """Something that was done.

    Args:
        after: seconds since the run began.
        guest: on which guest; "" is none.
        what: what it was.
        role: the role that is done with it; "" is none.
    """

    after: float
    guest: str
    what: str
    role: str = ""


class Timeline:
    """What was done when.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self.events: list[Event] = []

    def mark(self, what: str, guest: str = "", role: str = "") -> None:
        """Note that something is done."""
        with self._lock:
            self.events.append(Event(self._clock() - self._began, guest, what, role))

    @property
    def whole(self) -> float:
        """Seconds until the last event."""
        return max((event.after for event in self.events), default=0.0)

    def until(self, roles: Collection[str]) -> float | None:
        """Seconds until all of these roles were done on all guests; None: none was."""
        return max((event.after for event in self.events if event.role in roles), default=None)

    def unfinished(self, expected: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """What of these, each guest and role, was never done."""
        done = {(event.guest, event.role) for event in self.events}
        return sorted(set(expected) - done)

    def lines(self) -> Iterator[str]:
        """For people."""
        before = 0.0
        for event in sorted(self.events, key=lambda event: event.after):
            where = f"{event.guest}: " if event.guest else ""
            yield f"{_clocked(event.after)}  +{event.after - before:6.1f} s  {where}{event.what}"
            before = event.after


@dataclass(frozen=True)
class Verdict:
    """One objective, and what became of it.

    Args:
        name: e.g. "critical services".
        found, promised: seconds.
        met: whether it was met.
        detail: what it hangs on.
    """

    name: str
    found: float
    promised: float
    met: bool
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        word = "met" if self.met else "MISSED"
        return f"{word}: {self.name} {spoken(self.found)} of {spoken(self.promised)}{detail}"

    def to_json(self) -> dict[str, Any]:
        """For `--json` and reports."""
        return {
            "name": self.name,
            "found": round(self.found, 1),
            "promised": self.promised,
            "met": self.met,
            "detail": self.detail,
        }


Expected = Collection[tuple[str, str]]  # guest, role


def verdicts(
    timeline: Timeline, proven: Proven, objectives: Objectives, now: datetime, expected: Expected = ()
) -> list[Verdict]:
    """Times and data ages against the objectives.

    Args:
        timeline: what was done when.
        proven: the backup.
        objectives: what is promised.
        now: for the ages.
        expected: what was to come back. Where something of it never did, a time is not met, however short.
    """
    missing = timeline.unfinished(expected)
    critical = timeline.until(objectives.critical_roles)
    late = [each for each in missing if each[1] in objectives.critical_roles]
    found = []
    if critical is not None or late:
        found.append(_timed("critical services", critical or timeline.whole, objectives.critical, late))
    found.append(_timed("everything", timeline.whole, objectives.everything, missing))
    for kind, limit in (("configuration", objectives.configuration), ("state", objectives.state)):
        oldest = _oldest(proven, objectives, kind, now)
        if oldest:
            found.append(_verdict(f"age of {kind}", oldest[0], limit, oldest[1]))
    return found


def _timed(name: str, found: float, promised: timedelta, missing: Expected) -> Verdict:
    never = ", ".join(f"{guest}/{role}" for guest, role in missing)
    verdict = _verdict(name, found, promised, f"never: {never}" if never else "")
    return replace(verdict, met=verdict.met and not missing)


def _oldest(proven: Proven, objectives: Objectives, kind: str, now: datetime) -> tuple[float, str] | None:
    ages = [
        ((now - datetime.fromisoformat(piece.made)).total_seconds(), f"{guest}/{piece.name}")
        for guest, manifest in proven.manifests.items()
        for piece in manifest.pieces
        if piece.kept and (piece.role in objectives.state_roles) == (kind == "state")
    ]
    return max(ages, default=None)


def _verdict(name: str, found: float, promised: timedelta, detail: str = "") -> Verdict:
    return Verdict(name, found, promised.total_seconds(), found <= promised.total_seconds(), detail)


def spoken(seconds: float) -> str:
    """A time in the largest unit that fits."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and seconds % length == 0):
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def objectives(values: Mapping[str, Any]) -> Objectives:
    """The objectives of group_data/restore.py."""
    return Objectives(
        frozenset(values["restore_critical_roles"]),
        timedelta(minutes=values["restore_critical_minutes"]),
        timedelta(minutes=values["restore_all_minutes"]),
        frozenset(values["restore_state_roles"]),
        timedelta(hours=values["restore_state_hours"]),
        timedelta(hours=values["restore_configuration_hours"]),
    )


def _clocked(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"

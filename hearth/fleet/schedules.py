"""When a backup job of Proxmox begins, and what it notes: single values of the fleet file.

A part of Proxmox's calendar events (pve-guide, "Schedule Format"): days and one time, which can be compared.
"""

from __future__ import annotations

import re

from hearth.fleet.mistakes import WrongError
from hearth.fleet.scalars import show, text

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 24 * 60
WEEK = 7 * MINUTES_A_DAY
LONGEST_NOTES = 1024  # maxLength of notes-template
# The variables of notes-template (PVE::VZDump::generate_notes).
VARIABLES = frozenset({"cluster", "guestname", "node", "vmid"})
_SCHEDULE = re.compile(r"(?:([a-z.,]+) )?([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_RIGHT = 'write e.g. "02:30", "sun 03:00" or "mon..fri 02:30", in quotes'


def schedule(value: object) -> str:
    """A time, on all days or on some: "02:30", "sun 03:00", "mon,thu 03:00", "mon..fri 03:00"."""
    written = text(value)
    match = _SCHEDULE.fullmatch(written)
    if match is None or (match[1] and not _days(match[1])):
        raise WrongError(f"{show(written)} is no time of a backup job", _RIGHT)
    return written


def starts(written: str) -> tuple[int, ...]:
    """The minutes of the week, from Monday 00:00 on, at which a schedule begins."""
    match = _SCHEDULE.fullmatch(written)
    assert match is not None
    minute = int(match[2]) * 60 + int(match[3])
    days = _days(match[1]) if match[1] else range(len(DAYS))
    return tuple(sorted(day * MINUTES_A_DAY + minute for day in days))


def apart(one: str, other: str) -> int:
    """The fewest minutes that ever lie between two schedules; the week is a circle."""
    found = WEEK
    for first in starts(one):
        for second in starts(other):
            between = abs(first - second)
            found = min(found, between, WEEK - between)
    return found


def notes(value: object) -> str:
    """A template of notes: text with {{guestname}}, {{vmid}}, {{node}}, {{cluster}}."""
    written = text(value)
    if len(written) > LONGEST_NOTES:
        raise WrongError(f"is longer than {LONGEST_NOTES} characters", "shorten it; Proxmox takes no more")
    unknown = [name for name in re.findall(r"\{\{(.*?)\}\}", written) if name.strip() not in VARIABLES]
    if unknown:
        known = ", ".join(f"{{{{{name}}}}}" for name in sorted(VARIABLES))
        raise WrongError(f"{show('{{' + unknown[0] + '}}')} stands for nothing", f"use {known}")
    return written.replace("\n", "\\n")


def _days(written: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in written.split(","):
        first, dots, last = part.partition("..")
        if first not in DAYS or (dots and last not in DAYS):
            return ()
        begin = DAYS.index(first)
        end = DAYS.index(last) if dots else begin
        if end < begin:
            return ()
        found |= set(range(begin, end + 1))
    return tuple(sorted(found))

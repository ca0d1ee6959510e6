"""What size a guest should have: pure, from what it has and what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hearth.advise.measured import Measured
from hearth.fleet.model import Guest

Key = Literal["memory", "cores", "disk"]
ENOUGH: Final = 6.5  # days of measurements below which nothing is said
SCARCE, PLENTY = 0.85, 0.40  # shares of the memory in use: too small above, too large below
HALF: Final = 0.5
ROOM, WIDE_ROOM = 1.3, 1.6  # times the need: what a larger, and what a smaller one gets
WORTH: Final = 256  # MiB; less is not worth a restart
LEAST: Final = 256  # MiB: Debian and SSH
BUSY, IDLE = 0.80, 0.25  # shares of the cores at work
FULL: Final = 0.80  # share of the disk in use
SOON: Final = 30  # days within which a disk that would be full is too small
GIB: Final = 1024


@dataclass(frozen=True)
class Advice:
    """One change that is worth making.

    Args:
        guest: the guest, or the entry with `count`.
        key: of the fleet file.
        now, better: its values: MiB, or cores.
        why: what was measured.
    """

    guest: str
    key: Key
    now: int
    better: int
    why: str

    @property
    def verdict(self) -> str:
        """ "too small" or "too large"."""
        return "too small" if self.better > self.now else "too large"

    def to_json(self) -> dict[str, Any]:
        """For `--json`; memory and disk in MiB."""
        return {
            "guest": self.guest,
            "key": self.key,
            "now": self.now,
            "better": self.better,
            "verdict": self.verdict,
            "why": self.why,
        }


def written(key: Key, value: int) -> str:
    """A value as the fleet file has it: "768 MiB", "2 GiB", "2"."""
    if key == "cores":
        return str(value)
    return f"{value // GIB} GiB" if value % GIB == 0 else f"{value} MiB"


def advise(guest: Guest, seen: Measured) -> Iterator[Advice]:
    """What is worth changing at a guest; nothing where it was measured for too short a time."""
    if seen.days < ENOUGH:
        return
    for found in (_memory(guest, seen), _cores(guest, seen), _disk(guest, seen)):
        if found is not None and found.better != found.now:
            yield found


def _memory(guest: Guest, seen: Measured) -> Advice | None:
    if guest.memory is None or seen.memory is None:
        return None
    share = seen.memory / guest.memory
    why = f"it uses up to {seen.memory:.0f} of {guest.memory} MiB ({100 * share:.0f} %)"
    # With much memory left it was a service's own limit that ended it.
    killed = seen.kills >= 1 and share > HALF
    if killed:
        why += f", and the kernel ended {seen.kills:.0f} programs for want of memory"
    if share > SCARCE or killed:
        wanted = max(_up(seen.memory * ROOM), _up(guest.memory + 1))
        return Advice(guest.name, "memory", guest.memory, wanted, why)
    smaller = max(LEAST, _up(seen.memory * WIDE_ROOM))
    if share < PLENTY and guest.memory - smaller >= WORTH:
        return Advice(guest.name, "memory", guest.memory, smaller, why)
    return None


def _up(mib: float) -> int:
    """The next larger handy size: steps of 128 MiB below 1 GiB, of 512 MiB above."""
    step = 128 if mib <= GIB else 512
    return math.ceil(mib / step) * step


def _cores(guest: Guest, seen: Measured) -> Advice | None:
    if guest.cores is None or seen.busy is None:
        return None
    why = f"up to {seen.busy:.1f} of {guest.cores} cores work"
    if seen.busy > BUSY * guest.cores:
        return Advice(guest.name, "cores", guest.cores, max(guest.cores + 1, math.ceil(seen.busy / 0.6)), why)
    if seen.busy < IDLE * guest.cores and guest.cores > 1:
        return Advice(guest.name, "cores", guest.cores, max(1, math.ceil(seen.busy / 0.5)), why)
    return None


def _disk(guest: Guest, seen: Measured) -> Advice | None:
    """Only larger: a disk never shrinks."""
    if guest.disk is None or seen.disk is None or not seen.disk_size:
        return None
    share, grows = seen.disk / seen.disk_size, max(seen.grows or 0.0, 0.0)
    left = seen.disk_size - seen.disk
    why = f"{seen.disk / GIB:.1f} of {seen.disk_size / GIB:.1f} GiB are in use ({100 * share:.0f} %)"
    soon = grows > 0 and left / grows < SOON
    if soon:
        why += f", {grows:.0f} MiB more every day: full in {left / grows:.0f} days"
    if share <= FULL and not soon:
        return None
    # Room for a quarter of a year, and at most two thirds full.
    wanted = max((seen.disk + 90 * grows) * 1.1, seen.disk * 1.5, guest.disk + GIB)
    return Advice(guest.name, "disk", guest.disk, math.ceil(wanted / GIB) * GIB, why)


def together(guests: Iterable[Guest], seen: Mapping[str, Measured]) -> list[Advice]:
    """The advice for all guests; of those of one entry with `count`, whose line they share, the hungriest."""
    found: dict[tuple[str, Key], Advice] = {}
    members: dict[str, int] = {}
    for guest in guests:
        name = guest.group or guest.name
        if guest.name not in seen:
            continue
        members[name] = members.get(name, 0) + 1
        for one in advise(guest, seen[guest.name]):
            known = found.get((name, one.key))
            if known is None or one.better > known.better:
                found[name, one.key] = Advice(name, one.key, one.now, one.better, one.why)
    counted = _said(guests, seen)
    return [
        one
        for (name, key), one in found.items()
        if one.better > one.now or counted[name, key] == members[name]
    ]


def _said(guests: Iterable[Guest], seen: Mapping[str, Measured]) -> dict[tuple[str, Key], int]:
    """How many guests of an entry could do with less: it takes all of them to make it smaller."""
    counted: dict[tuple[str, Key], int] = {}
    for guest in guests:
        for one in advise(guest, seen[guest.name]) if guest.name in seen else ():
            place = (guest.group or guest.name, one.key)
            counted[place] = counted.get(place, 0) + 1
    return counted

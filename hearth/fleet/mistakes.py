"""The mistakes of a fleet file: one a line, all at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from hearth.errors import HearthError

Place = tuple[str | int, ...]  # ("guests", "comms", "devices", 0)

MOST = 1000  # mistakes; a file with more is not a fleet file
# What each guest of an entry with `count` has for itself; () is its name.
OF_EACH: tuple[Place, ...] = (("address",), ("address6",), ("vmid",), ())
_SHOWN = 60  # characters of a wrong value
_KEY_SHOWN = 40  # characters of a key


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake.

    Args:
        file: the path as it was given.
        line: counted from 1; 0 where the file as a whole is meant.
        field: the keys from the top, joined by dots: "guests.comms.memory"; "" for the whole file.
        wrong: what is wrong: '"2 GB of" is no size'.
        right: what would be right: 'write e.g. "2 GiB" or "512 MiB"'.
    """

    file: str
    line: int
    field: str
    wrong: str
    right: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.field}: {self.wrong}" if self.field else self.wrong
        return f"{where}: {what} ({self.right})"


class FleetError(HearthError):
    """The fleet file cannot be used. `mistakes` holds every mistake, in the order of lines."""

    def __init__(self, file: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        count = f"{len(self.mistakes)} mistake{'s' if len(self.mistakes) != 1 else ''}"
        super().__init__(f"use the fleet file {file}", count, "nothing was contacted; mend and run again")

    def __str__(self) -> str:
        return "\n".join((super().__str__(), *map(str, self.mistakes)))


class WrongError(ValueError):
    """A value that is not what it should be; the reader adds file, line and field."""

    def __init__(self, wrong: str, right: str) -> None:
        super().__init__(f"{wrong} ({right})")
        self.wrong = wrong
        self.right = right


class EnoughError(Exception):
    """More mistakes than anybody would read."""


@dataclass
class Report:
    """Collects mistakes while the file is read.

    Args:
        file: the path as it was given.
        lines: the line of every key and list item, filled by source.py.
        broken: places whose value is already reported, so that it is not also called missing.
        numbered: guests that one entry with `count` makes -> that entry's name.
    """

    file: str
    lines: dict[Place, int] = field(default_factory=dict)
    broken: set[Place] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)
    numbered: dict[str, str] = field(default_factory=dict)

    def add(self, place: Place, wrong: str, right: str, at: Place | None = None) -> None:
        """Note a mistake at `place`; `at` is where the value stands, if elsewhere (defaults)."""
        self.add_line(self.line(place if at is None else at), place, wrong, right)

    def add_line(self, line: int, place: Place, wrong: str, right: str) -> None:
        """Note a mistake on a known line. Raises EnoughError after MOST of them."""
        self.broken |= {place, self._written(place)}
        self.mistakes.append(Mistake(self.file, line, dotted(self._shown(place)), wrong, right))
        if len(self.mistakes) >= MOST:
            self.mistakes.append(
                Mistake(self.file, 0, "", f"more than {MOST} mistakes", "mend these, then look again")
            )
            raise EnoughError

    def line(self, place: Place) -> int:
        """The line of this place, or of the nearest thing around it that stands in the file."""
        place = self._written(place)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def unsure(self, place: Place) -> bool:
        """True where a mistake of this place, or of what it stands in, is already reported."""
        places = (place, self._written(place))
        return any(each[:length] in self.broken for each in places for length in range(1, len(each) + 1))

    def _written(self, place: Place) -> Place:
        """Where a numbered guest's key stands: at the entry that makes it."""
        if len(place) > 1 and place[0] == "guests" and place[1] in self.numbered:
            return ("guests", self.numbered[str(place[1])], *place[2:])
        return place

    def _shown(self, place: Place) -> Place:
        """A mistake that all guests of an entry share is told once, at the entry."""
        return place if place[2:3] in OF_EACH else self._written(place)


def dotted(place: Place) -> str:
    """A place as the admin reads it: guests.comms.devices.0."""
    return ".".join(_key(part) for part in place)


def _key(part: str | int) -> str:
    name = str(part)
    plain = name.replace("-", "").replace("_", "").isalnum()
    return name if plain and len(name) <= _KEY_SHOWN else quoted(name, _KEY_SHOWN)


def quoted(text: str, most: int = _SHOWN) -> str:
    """A text for a message: in quotes, cut to `most` characters, nothing unprintable in it."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return f'"{safe}"'


def nearest(word: str, known: Collection[str]) -> str:
    """What would be right instead of an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word[:_KEY_SHOWN], known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(known))}" if known else "none is known"

"""The mistakes of a file: one a line, all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[str | int, ...]  # ("automations", 0, "actions", 1, "wait")

_SHOWN = 80  # characters of a wrong value


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake.

    Args:
        file: the path as it was given.
        line: counted from 1; 0 where the whole file is meant.
        field: the keys from the top, joined by dots; "" for the whole file.
        wrong: what is wrong: '"17" is not a number'.
        right: what would be right: "seconds, above 0".
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


class InvalidError(Exception):
    """Files that cannot be used. `mistakes` holds every mistake, in the order of files and lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(map(str, self.mistakes)))


def dotted(place: Place) -> str:
    """The place as a text: `automations.0.actions`."""
    return ".".join(str(step) for step in place)


def shown(value: object) -> str:
    """A wrong value, short and on one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

"""Single values of the fleet file: what each may be, and what to say when it is not.

Every function takes plain data of source.py and returns the value for the model, or raises WrongError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TypeVar

from hearth.fleet.mistakes import WrongError, nearest, quoted
from hearth.fleet.source import YesNo

_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SIZE = re.compile(r"(\d{1,7}(?:\.\d{1,6})?) ?(MiB|GiB|TiB)", re.ASCII)
_OTHER_UNIT = re.compile(r"(\d{1,7}(?:\.\d{1,6})?) ?([mgt])(?:i?b?)?", re.ASCII | re.IGNORECASE)
_SIZE_EXAMPLE = 'write e.g. "2 GiB" or "512 MiB"'
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

_T = TypeVar("_T")


def show(value: object) -> str:
    """A wrong value as the admin wrote it, made safe for a terminal."""
    if isinstance(value, YesNo):
        return f"`{value.text}`"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else str(value)


def text(value: object) -> str:
    """Any text without control characters."""
    if isinstance(value, YesNo):
        raise WrongError(
            f"{show(value)} is a yes or no to YAML, not a text", f'write "{value.text}" in quotes'
        )
    if isinstance(value, int | float):
        raise WrongError(f"{show(value)} is a number, not a text", f'write "{value}" in quotes')
    if not isinstance(value, str):
        raise WrongError(f"is {show(value)} where one text belongs", "write one text")
    if not value.strip():
        raise WrongError("is an empty text", "write something, or remove the key")
    if _NO_TEXT.search(value):
        raise WrongError(f"{show(value)} holds characters that cannot be printed", "remove them")
    return value


def shaped(
    pattern: str, what: str, right: str, longest: int = 255, among: Callable[[object], str] = text
) -> Callable[[object], str]:
    """A text that matches a pattern as a whole.

    Args:
        pattern: regular expression (ASCII).
        what: what the text then is, for "is no WHAT".
        right: what would be right.
        longest: characters allowed.
        among: what to ask first.
    """
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> str:
        word = among(value)
        if len(word) > longest or not compiled.fullmatch(word):
            raise WrongError(f"{show(word)} is no {what}", right)
        return word

    return check


def one_of(*words: str) -> Callable[[object], str]:
    """One of a few words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        choices = " or ".join(words)
        raise WrongError(f"{show(value)} is neither {' nor '.join(words)}", f"write {choices}")

    return check


def whole(least: int, most: int) -> Callable[[object], int]:
    """A whole number from `least` to `most`."""

    def check(value: object) -> int:
        if not isinstance(value, int):
            raise WrongError(f"{show(value)} is no whole number", f"write a number from {least} to {most}")
        if not least <= value <= most:
            raise WrongError(f"{value} is not from {least} to {most}", "write a number in that range")
        return value

    return check


def yes_no(value: object) -> bool:
    """A YAML boolean."""
    if isinstance(value, YesNo):
        return value.value
    raise WrongError(f"{show(value)} is neither yes nor no", "write true or false, without quotes")


def size(value: object) -> int:
    """A size with its unit, e.g. "2 GiB"; in MiB."""
    if value == 0 and isinstance(value, int):
        return 0
    if isinstance(value, int):
        raise WrongError(f"{value} has no unit", f'write e.g. "{value} MiB"')
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise WrongError(f"{show(value)} is no size", _meant_size(value))
    amount = Decimal(match[1]) * _MIB[match[2]]
    if amount != amount.to_integral_value():
        raise WrongError(f"{show(value)} is no whole number of MiB", f'write "{int(amount)} MiB"')
    return int(amount)


def _meant_size(value: object) -> str:
    meant = _OTHER_UNIT.fullmatch(value) if isinstance(value, str) else None
    return f'write "{meant[1]} {meant[2].upper()}iB"' if meant else _SIZE_EXAMPLE


def at_least(least: int, what: str) -> Callable[[object], int]:
    """A size of at least so many MiB; `what` says who wants that."""

    def check(value: object) -> int:
        amount = size(value)
        if amount < least:
            raise WrongError(f"{show(value)} is too small: {what}", f'write "{least} MiB" or more')
        return amount

    return check


def known(word: str, words: Collection[str], what: str) -> None:
    """Raise WrongError unless `word` is one of `words`; `what` names the kind of thing."""
    if word not in words:
        raise WrongError(f"there is no {what} {quoted(word)}", nearest(word, words))


def once(values: list[_T], what: str) -> None:
    """Raise WrongError where a value stands twice in a list."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise WrongError(f"names {what} {value} twice", "remove one of them")

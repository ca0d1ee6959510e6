"""An answer, or why there is none: one part of the page that cannot be asked leaves the others whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hearth.errors import HearthError

T = TypeVar("T")


@dataclass(frozen=True)
class Asked(Generic[T]):
    """An answer.

    Args:
        value: it; None where there is none.
        why: why there is none, for the admin.
        absent: there is nothing to ask, which is no mistake.
    """

    value: T | None = None
    why: str = ""
    absent: bool = False

    @property
    def known(self) -> bool:
        """Whether there is an answer."""
        return self.value is not None


def ask(question: Callable[[], T]) -> Asked[T]:
    """The answer to a question that may raise HearthError."""
    try:
        return Asked(question())
    except HearthError as error:
        return Asked(why=str(error))


def nothing(why: str) -> Asked[T]:
    """There is nothing to ask."""
    return Asked(why=why, absent=True)

"""Wait for what a service needs a moment for, right after a deploy too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def settled(look: Callable[[], T], wanted: T, seconds: float, pause: float = 1) -> T:
    """What is seen once it is what is wanted, or when the time is over; `pause`: seconds between looks."""
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(pause)
    return found


def missing_none(look: Callable[[], set[T]], wanted: set[T], seconds: float) -> None:
    """Look until all that is wanted was there at once.

    Args:
        look: what is there now.
        wanted: what has to be.
        seconds: for how long to look.

    Raises:
        AssertionError: something of it was still missing; names it.
    """
    lacking = settled(lambda: wanted - look(), set(), seconds, pause=3)
    assert not lacking, f"still missing after {seconds:.0f} s: {lacking}"

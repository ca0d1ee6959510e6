"""Wait for what a service needs a moment for, right after a deploy too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def missing_none(look: Callable[[], set[T]], wanted: set[T], seconds: float, pause: float = 3) -> None:
    """Look until all that is wanted was there at once.

    Args:
        look: what is there now.
        wanted: what has to be.
        seconds: for how long to look.
        pause: seconds between two looks.

    Raises:
        AssertionError: something of it was still missing; names it.
    """
    end = time.monotonic() + seconds
    while lacking := wanted - look():
        assert time.monotonic() < end, f"still missing after {seconds:.0f} s: {lacking}"
        time.sleep(pause)

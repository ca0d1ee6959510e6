"""Values of backups that mean something to restic or systemd, judged before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hearth.errors import HearthError

KEEPS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
# A part of systemd.time(7) on purpose: what a typing error gives is refused here, not on the guest.
CALENDAR = re.compile(
    r"(daily|weekly|monthly|((Mon|Tue|Wed|Thu|Fri|Sat|Sun)([.,-]+(Mon|Tue|Wed|Thu|Fri|Sat|Sun))* )?"
    r"(\*-\*-[0-9*,]+ )?([01]?[0-9]|2[0-3]):[0-5][0-9])"
)


def retention(name: str, value: Any) -> dict[str, int]:
    """How many snapshots are kept, e.g. {"daily": 7, "weekly": 4}.

    Args:
        name: of the value, for errors.
        value: of group_data.

    Raises:
        HearthError: it keeps nothing, or says what restic does not know.
    """
    right = 'write e.g. {"daily": 7, "weekly": 4, "monthly": 6}'
    if not isinstance(value, Mapping) or not value:
        raise HearthError(f"use {name}", f"it is {value!r}", right)
    for key, count in value.items():
        whole = isinstance(count, int) and not isinstance(count, bool) and count >= 1
        if key not in KEEPS or not whole:
            raise HearthError(f"use {name}", f"{key!r}: {count!r} keeps nothing", right)
    return dict(value)


def calendar(name: str, value: Any) -> str:
    """When a timer fires: "03:30", "Sun 04:00", "daily".

    Raises:
        HearthError: it is no such time.
    """
    if not isinstance(value, str) or not CALENDAR.fullmatch(value):
        raise HearthError(f"use {name}", f"it is {value!r}", 'write e.g. "03:30" or "Sun 04:00"')
    return value

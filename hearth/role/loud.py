"""Which services log at debug level for a time, and until when: `log_debug` of group_data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hearth.errors import HearthError

LEVEL, WORD = "log_level", "debug"  # every role's level has this name, and this word means everything
LONGEST = timedelta(days=14)
RIGHT = 'write e.g. {"mosquitto": "2026-12-01 18:00"}, or "mosquitto@comms" for one guest'


def loud_until(value: Any, role: str, guest: str, zone: str, now: datetime) -> datetime | None:
    """Until when a role logs at debug level on a guest; None: it does not, or the time is over.

    Args:
        value: `log_debug` of group_data: role, or ROLE@GUEST, -> when it ends, in the home's time zone.
        role, guest: which one is meant.
        zone: the home's time zone.
        now: the time, with its zone.

    Raises:
        HearthError: the value is no such mapping, or a time is none, or further away than two weeks: who
            forgets it would fill disks.
    """
    if not isinstance(value, Mapping):
        raise HearthError("use log_debug", f"it is {value!r}", RIGHT)
    ends = [_moment(value[key], key, zone, now) for key in (role, f"{role}@{guest}") if key in value]
    later = [moment for moment in ends if moment > now]
    return max(later) if later else None


def _moment(text: Any, key: str, zone: str, now: datetime) -> datetime:
    try:
        found = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise HearthError("use log_debug", f"{key} ends at {text!r}, which is no time", RIGHT) from None
    moment = (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    if moment - now > LONGEST:
        raise HearthError(
            "use log_debug", f"{key} ends on {text}", f"choose a time within {LONGEST.days} days"
        )
    return moment

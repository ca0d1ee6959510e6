"""Whether something holds: pure decisions on plain data."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from ai_automation.rules import WEEKDAYS, AtTrigger, Compare, MqttTrigger, TimeCondition

_NOTHING = object()


def holds(compare: Compare, value: Any) -> bool:
    """Whether all that is given holds for the value. A text that is a number counts as that number."""
    if compare.equals is not None and not _same(value, compare.equals):
        return False
    if compare.one_of is not None and not any(_same(value, wanted) for wanted in compare.one_of):
        return False
    if compare.above is None and compare.below is None:
        return True
    number = _number(value)
    if number is None:
        return False
    return (compare.above is None or number > compare.above) and (
        compare.below is None or number < compare.below
    )


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(wanted, int | float):
        return _number(value) == wanted
    return bool(value == wanted)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def fits(trigger: MqttTrigger, data: Any) -> bool:
    """Whether a message's payload satisfies all the trigger's checks; a field that is not there does not."""
    for check in trigger.payload:
        value = _pick(data, check.field)
        if value is _NOTHING or not holds(check, value):
            return False
    return True


def _pick(data: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        if not isinstance(data, dict) or key not in data:
            return _NOTHING
        data = data[key]
    return data


def in_time(condition: TimeCondition, now: datetime) -> bool:
    """Whether the local time is in the condition's part of the day and on one of its weekdays."""
    if WEEKDAYS[now.weekday()] not in condition.weekdays:
        return False
    clock = now.time()
    after = time.fromisoformat(condition.after) if condition.after else time.min
    before = time.fromisoformat(condition.before) if condition.before else None
    if before is None:
        return clock >= after
    if after <= before:
        return after <= clock < before
    return clock >= after or clock < before


def next_time(trigger: AtTrigger, now: datetime) -> datetime:
    """The next moment after `now` at which the trigger is due.

    Args:
        trigger: time of day and weekdays.
        now: with the home's time zone. On the day clocks go forward, a time that does not exist is due
            an hour later by the clock; on the day they go back, a time that comes twice is due the first
            time.
    """
    wanted = time.fromisoformat(trigger.time)
    for days in range(9):
        day = now.date() + timedelta(days=days)
        moment = datetime.combine(day, wanted, tzinfo=now.tzinfo)
        if moment.timestamp() > now.timestamp() and WEEKDAYS[day.weekday()] in trigger.weekdays:
            return moment
    raise AssertionError("a week has every weekday")

"""Intervals and times of day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from ai_automation.conditions import next_time
from ai_automation.rules import AtTrigger, Automation, EveryTrigger

_LONGEST_NAP = 20  # seconds: a clock that was set meanwhile is noticed
_Key = tuple[str, int, str]  # the automation's id, the trigger's number, the trigger


class Schedule:
    """Keeps one task for each trigger by time. Use it on one event loop.

    Args:
        zone: the home's time zone.
        due: called with the automation and "every" or "at" when a trigger is due. What was due while the
            service did not run is not made up for.
    """

    def __init__(self, zone: ZoneInfo, due: Callable[[Automation, str], None]) -> None:
        self._zone = zone
        self._due = due
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._automations: dict[str, Automation] = {}

    def set(self, automations: Iterable[Automation]) -> None:
        """Follow these automations, and no others. A trigger that stays the same keeps its rhythm."""
        self._automations = {automation.id: automation for automation in automations}
        wanted: dict[_Key, EveryTrigger | AtTrigger] = {}
        for automation in self._automations.values():
            for number, trigger in enumerate(automation.triggers):
                timed = trigger.every or trigger.at
                if timed is not None:
                    wanted[(automation.id, number, repr(timed))] = timed
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.get_running_loop().create_task(self._follow(key[0], wanted[key]))

    async def _follow(self, automation_id: str, trigger: EveryTrigger | AtTrigger) -> None:
        beat = time.monotonic()
        while True:
            if isinstance(trigger, EveryTrigger):
                beat = max(beat + trigger.length, time.monotonic())
                await asyncio.sleep(beat - time.monotonic())
                self._due(self._automations[automation_id], "every")
            else:
                await self._until(next_time(trigger, datetime.now(self._zone)))
                self._due(self._automations[automation_id], "at")

    async def _until(self, moment: datetime) -> None:
        while (left := moment.timestamp() - time.time()) > 0:
            await asyncio.sleep(min(left, _LONGEST_NAP))

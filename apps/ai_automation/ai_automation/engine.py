"""Which run goes when: modes, queues, times of day, and the end of it all.

Everything here happens on one event loop in a thread of its own; `Engine`'s public methods may be called
from any thread, the ones named `_...` only on that loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ai_automation.actions import Outside
from ai_automation.history import History, end_interrupted
from ai_automation.rules import Automation
from ai_automation.run import UNFINISHED, Outcome, Run, Trigger
from ai_automation.runner import Runner
from ai_automation.schedule import Schedule

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
_ANSWER = 10  # seconds for the loop to take something in


class RefusedError(Exception):
    """A run that is not taken.

    Args:
        code: unknown_automation, not_callable, disabled, already_running, queue_full or stopping.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class _Lane:
    """What goes on with one automation."""

    current: Run | None = None
    task: asyncio.Task[None] | None = None
    waiting: deque[tuple[Run, Automation]] = field(default_factory=deque)
    refused: int = 0


class Engine:
    """Takes triggers and carries out runs.

    Args:
        rules: the automations by id.
        outside: the services.
        history: where runs are kept.
        zone: the home's time zone.
        announce: told of every change of a run; called on the engine's loop.
    """

    def __init__(
        self,
        rules: dict[str, Automation],
        outside: Outside,
        history: History,
        zone: ZoneInfo,
        announce: Callable[[Run], None],
    ) -> None:
        self._rules = rules
        self._outside = outside
        self._history = history
        self._zone = zone
        self._announce = announce
        self._lanes: dict[str, _Lane] = {}
        self._stopping = False
        self._schedule = Schedule(zone, lambda automation, source: self._fire(automation, Trigger(source)))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="engine", daemon=True)

    def start(self) -> None:
        """Begin: times of day count from now."""
        self._thread.start()
        self._on_loop(self._set_rules(self._rules))

    @property
    def alive(self) -> bool:
        """Whether the loop still turns."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether no run is taken any more."""
        return self._stopping

    @property
    def rules(self) -> dict[str, Automation]:
        """The automations in force, by id."""
        return self._rules

    def set_rules(self, rules: dict[str, Automation]) -> None:
        """Put other rules in force. What runs or waits goes on by the rule it began with."""
        self._on_loop(self._set_rules(rules))

    def call(self, automation_id: str, trigger: Trigger) -> Run:
        """Trigger an automation by name.

        Raises:
            RefusedError: it is not there, may not be called, or takes no run now.
        """
        return self._on_loop(self._call(automation_id, trigger))

    def fire(self, automation: Automation, trigger: Trigger) -> None:
        """An event of the automation's own: nobody waits, a refusal is logged and counted."""
        self.loop.call_soon_threadsafe(self._fire, automation, trigger)

    def overview(self, automation_id: str) -> dict[str, Any]:
        """What goes on with an automation: the run in progress, how many wait, how many were refused."""
        lane = self._lanes.get(automation_id, _Lane())
        current = lane.current
        return {
            "running": current.id if current else None,
            "queued": len(lane.waiting),
            "refused": lane.refused,
        }

    def unfinished(self) -> list[Run]:
        """The runs that are going on or wait."""
        found: list[Run] = []
        for lane in list(self._lanes.values()):
            found += [lane.current] if lane.current else []
            found += [run for run, _ in list(lane.waiting)]
        return found

    def stop(self, limit: float) -> None:
        """Take no more runs, let running ones end, mark the rest interrupted.

        Args:
            limit: seconds for the running ones.
        """
        self._stopping = True
        asyncio.run_coroutine_threadsafe(self._stop(limit), self.loop).result(limit + _ANSWER)

    def finish(self) -> None:
        """Close what the loop holds and end it. To be called after `stop`."""
        self._on_loop(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_ANSWER)

    def run_on_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something short on the engine's loop, and wait for it."""
        return self._on_loop(work)

    def _on_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_ANSWER)

    async def _set_rules(self, rules: dict[str, Automation]) -> None:
        self._rules = rules
        self._schedule.set([rule for rule in rules.values() if rule.enabled])

    async def _call(self, automation_id: str, trigger: Trigger) -> Run:
        automation = self._rules.get(automation_id)
        if automation is None:
            raise RefusedError("unknown_automation", f"there is no automation {automation_id!r}")
        if not automation.called():
            raise RefusedError("not_callable", f"{automation_id} has no rest trigger")
        return self._take(automation, trigger)

    def _fire(self, automation: Automation, trigger: Trigger) -> None:
        try:
            self._take(automation, trigger)
        except RefusedError as error:
            _log.warning("%s trigger of %s refused: %s", trigger.source, automation.id, error)

    def _take(self, automation: Automation, trigger: Trigger) -> Run:
        if self._stopping:
            raise RefusedError("stopping", "the service is stopping")
        if not automation.enabled:
            raise RefusedError("disabled", f"{automation.id} is disabled")
        lane = self._lanes.setdefault(automation.id, _Lane())
        if lane.current is not None:
            self._make_room(automation, lane)
        actions = [
            Outcome(action.id or str(n), action.kind) for n, action in enumerate(automation.actions, 1)
        ]
        run = Run(automation.id, trigger, actions=actions)
        lane.waiting.append((run, automation))
        self._changed(run)
        self._advance(lane)
        return run

    def _make_room(self, automation: Automation, lane: _Lane) -> None:
        """What the automation's mode does about a run that goes on; raises where that is to refuse."""
        if automation.mode == "single":
            lane.refused += 1
            raise RefusedError("already_running", f"{automation.id} is already running")
        if automation.mode == "queued" and len(lane.waiting) >= automation.max_queued:
            lane.refused += 1
            raise RefusedError("queue_full", f"{len(lane.waiting)} runs of {automation.id} wait already")
        if automation.mode == "restart":
            for run, _ in lane.waiting:
                self._end(run, "cancelled", "restarted by a newer trigger")
            lane.waiting.clear()
            if lane.task is not None:
                lane.task.cancel()

    def _advance(self, lane: _Lane) -> None:
        if lane.current is None and lane.waiting and not self._stopping:
            run, automation = lane.waiting.popleft()
            lane.current = run
            work = Runner(run, automation, self._outside, self._zone, self._changed).work()
            lane.task = self.loop.create_task(work)
            # A callback, not a `finally` in the task: a task cancelled before its first step runs neither.
            lane.task.add_done_callback(lambda task: self._ended(lane, run, task))

    def _ended(self, lane: _Lane, run: Run, task: asyncio.Task[None]) -> None:
        if task.cancelled() and self._stopping:
            end_interrupted(run)
            self._changed(run)
        elif task.cancelled():
            self._end(run, "cancelled", "restarted by a newer trigger")
        elif (error := task.exception()) is not None:
            _log.error("run %s of %s broke", run.id, run.automation, exc_info=error)
            self._end(run, "failed", f"a mistake of this program: {type(error).__name__}")
        lane.current = lane.task = None
        self._advance(lane)

    def _end(self, run: Run, state: Any, error: str) -> None:
        run.state, run.error, run.finished = state, error, time.time()
        for outcome in run.actions:
            if outcome.state in ("running", "pending"):
                outcome.state = "cancelled" if outcome.state == "running" else "not_run"
        self._changed(run)

    def _changed(self, run: Run) -> None:
        self._history.save(run)
        self._announce(run)
        if run.state not in UNFINISHED:
            _log.info("run %s of %s: %s %s", run.id, run.automation, run.state, run.error)
            run.done.set()

    async def _stop(self, limit: float) -> None:
        self._schedule.set([])
        for lane in self._lanes.values():
            for run, _ in lane.waiting:
                end_interrupted(run)
                self._changed(run)
            lane.waiting.clear()
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=limit)
        await _cancel(tasks)

    async def _close(self) -> None:
        for peer in (self._outside.home_assistant, self._outside.mcp_hub, self._outside.model):
            if peer is not None:
                await peer.close()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_ANSWER / 2)

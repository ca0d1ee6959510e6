"""One run: its conditions, its actions in order, retries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ai_automation import choose
from ai_automation.actions import Context, Outside, perform, there
from ai_automation.conditions import holds, in_time
from ai_automation.failure import ActionError
from ai_automation.rules import Action, Automation, Condition, Retries, Step
from ai_automation.run import Outcome, Run
from ai_automation.templates import BadTemplateError, render

Result = TypeVar("Result")
Changed = Callable[[Run], None]  # told at each change


class Runner:
    """Carries out a run. Cancel `work` to end it early; the run's state is then the canceller's to set.

    Args:
        run: filled in while it goes.
        automation: the rule as it was when the run began.
        outside: the services.
        zone: the home's time zone.
        changed: told at each change of the run.
    """

    def __init__(
        self, run: Run, automation: Automation, outside: Outside, zone: ZoneInfo, changed: Changed
    ) -> None:
        self._run = run
        self._automation = automation
        self._outside = outside
        self._zone = zone
        self._changed = changed
        self._results: dict[str, Any] = {}

    async def work(self) -> None:
        """Do it all; the run has ended afterwards."""
        run = self._run
        run.state, run.started = "running", time.time()
        run.actions = [
            Outcome(action.id or str(number), action.kind)
            for number, action in enumerate(self._automation.actions, 1)
        ]
        self._changed(run)
        try:
            async with asyncio.timeout(self._automation.timeout):
                if await self._conditions():
                    await self._actions()
        except TimeoutError:
            self._end("timed_out", f"not done within {self._automation.timeout:g} s")
        except ActionError as error:
            self._end("failed", str(error))

    def _end(self, state: Any, error: str = "") -> None:
        run = self._run
        run.state, run.error, run.finished = state, error, time.time()
        for outcome in run.actions:
            if outcome.state == "running":
                outcome.state, outcome.finished = "cancelled", run.finished
            elif outcome.state == "pending":
                outcome.state = "not_run"
        self._changed(run)

    def _context(self) -> Context:
        trigger = self._run.trigger
        return {
            "trigger": {
                "source": trigger.source,
                "data": trigger.data,
                "topic": trigger.topic,
                "by": trigger.by,
            },
            "results": self._results,
            "run": {"id": self._run.id, "automation": self._run.automation},
            "now": datetime.now(self._zone).isoformat(timespec="seconds"),
        }

    async def _conditions(self) -> bool:
        for number, condition in enumerate(self._automation.conditions, 1):
            try:
                met = await self._met(condition)
            except (ActionError, BadTemplateError) as error:
                raise ActionError(f"condition {number}: {error}") from None
            if not met:
                self._end("skipped", f"condition {number} does not hold")
                return False
        return True

    async def _met(self, condition: Condition) -> bool:
        if condition.time is not None:
            return in_time(condition.time, datetime.now(self._zone))
        if condition.value is not None:
            return holds(condition.value, render(condition.value.value, self._context()))
        if condition.state is not None:
            peer = there(self._outside.home_assistant, "home_assistant")
            path = f"/api/states/{condition.state.entity_id}"
            answer = await self._retry(True, lambda: peer.call("GET", path), None)
            return holds(condition.state, answer.get("state") if isinstance(answer, dict) else None)
        result = render(condition.template, self._context())
        if not isinstance(result, bool):
            raise BadTemplateError(f"gives {result!r}, neither true nor false")
        return result

    async def _actions(self) -> None:
        failed = 0
        for action, outcome in zip(self._automation.actions, self._run.actions, strict=True):
            if not await self._one(action, outcome):
                failed += 1
                if self._automation.on_error == "stop":
                    self._end("failed", f"action {outcome.label}: {outcome.error}")
                    return
        total = len(self._run.actions)
        self._end(
            "failed" if failed else "succeeded", f"{failed} of {total} actions failed" if failed else ""
        )

    async def _one(self, action: Action, outcome: Outcome) -> bool:
        outcome.state, outcome.started = "running", time.time()
        self._changed(self._run)
        try:
            outcome.result = await self._do(action, outcome)
            outcome.state = "succeeded"
        except ActionError as error:
            outcome.state, outcome.error, outcome.result = "failed", str(error), error.result
        outcome.finished = time.time()
        self._results[outcome.label] = outcome.result
        self._changed(self._run)
        return outcome.state == "succeeded"

    async def _do(self, action: Action, outcome: Outcome) -> Any:
        if action.choose is None:
            return await self._step(action, self._context(), outcome)
        wanted = action.choose
        chosen = await self._retry(True, lambda: choose.ask(wanted, self._context(), self._outside), outcome)
        done: list[dict[str, Any]] = []
        for one in chosen:
            done.append({"action": one.action.id, "arguments": one.arguments})
            try:
                done[-1]["result"] = await self._step(
                    one.action, self._context() | {"arguments": one.arguments}, outcome
                )
            except ActionError as error:
                raise ActionError(f"{one.action.id}: {error}", result=done) from None
        return done

    async def _step(self, step: Step, context: Context, outcome: Outcome) -> Any:
        return await self._retry(step.repeatable, lambda: perform(step, context, self._outside), outcome)

    async def _retry(
        self, repeatable: bool, attempt: Callable[[], Awaitable[Result]], outcome: Outcome | None
    ) -> Result:
        """Try until it works, is no use, or is no longer allowed."""
        retries = self._automation.retries
        for tried in range(retries.times + 1):
            if outcome is not None:
                outcome.attempts += 1
            try:
                return await attempt()
            except ActionError as error:
                allowed = error.again == "not_sent" or (error.again == "unsure" and repeatable)
                if not allowed or tried == retries.times:
                    raise
            await asyncio.sleep(pause(retries, tried))
        raise AssertionError("the last try returns or raises")


def pause(retries: Retries, tried: int) -> float:
    """Seconds before the next try, when `tried` tries came before the one that failed."""
    return float(min(retries.delay * 2**tried, retries.max_delay))

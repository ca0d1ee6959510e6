"""A run of an automation, and what became of each of its actions."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal[
    "queued", "running", "succeeded", "failed", "skipped", "timed_out", "cancelled", "interrupted"
]
ActionState = Literal["pending", "running", "succeeded", "failed", "not_run", "cancelled", "interrupted"]
STATES: tuple[State, ...] = (
    "queued", "running", "succeeded", "failed", "skipped", "timed_out", "cancelled", "interrupted",
)  # fmt: skip
UNFINISHED: tuple[State, ...] = ("queued", "running")


@dataclass
class Outcome:
    """What became of one action.

    Args:
        label: the action's id, or its number from 1.
        kind: home_assistant, mcp_hub, mqtt, notify, wait or choose.
        attempts: how often it was tried.
        error: why it failed, "" where it did not.
        result: what it gave, shortened for the history.
    """

    label: str
    kind: str
    state: ActionState = "pending"
    attempts: int = 0
    error: str = ""
    result: Any = None
    started: float | None = None
    finished: float | None = None


@dataclass
class Trigger:
    """What started a run.

    Args:
        source: rest, websocket, mqtt, every or at.
        data: the caller's data, or the message's payload (JSON where it is JSON).
        by: the client's name, for rest and websocket.
        topic: for mqtt.
    """

    source: str
    data: Any = None
    by: str = ""
    topic: str = ""


@dataclass
class Run:
    """One run. Times are seconds since 1970, UTC."""

    automation: str
    trigger: Trigger
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "queued"
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    error: str = ""
    actions: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.done = threading.Event()  # set when the run has ended
        self._told: State | None = None

    def moved(self) -> bool:
        """Whether the state is another than at the last call, or only an action went on."""
        before, self._told = self._told, self.state
        return before != self.state

    def to_json(self) -> dict[str, Any]:
        """All there is to know, as plain data."""
        return asdict(self)

    def brief(self) -> dict[str, Any]:
        """Without the trigger's data and the actions: what goes to MQTT."""
        whole = asdict(self)
        return {key: value for key, value in whole.items() if key not in ("trigger", "actions")} | {
            "source": self.trigger.source
        }

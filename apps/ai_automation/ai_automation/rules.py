"""What a rule may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ai_automation.shape import Shape

Scalar = str | int | float | bool
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME = r"^[a-z0-9_]{1,64}$"
_NAME_RIGHT = "1 to 64 of a-z, 0-9, _"


def _clock(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", value):
        raise ValueError(f"{value!r} is not a time of day | write 07:30 or 07:30:15")
    return value


def _filter(value: str) -> str:
    levels = value.split("/")
    wild = any(("+" in level or "#" in level) and len(level) > 1 for level in levels)
    if not value or "\0" in value or wild or "#" in levels[:-1]:
        raise ValueError(f"{value!r} is not an MQTT topic filter | + is a whole level, # the last one")
    return value


Clock = Annotated[str, AfterValidator(_clock)]
TopicFilter = Annotated[str, AfterValidator(_filter)]


def _exactly_one(shape: Shape, kinds: tuple[str, ...]) -> str:
    """The kind that is set; raises where it is not one."""
    there = [kind for kind in kinds if getattr(shape, kind) is not None]
    if len(there) != 1:
        what = "none" if not there else " and ".join(there)
        raise ValueError(f"must be exactly one kind, and is {what} | write one of {', '.join(kinds)}")
    return there[0]


class Compare(Shape):
    """What a value must be; all that is given must hold."""

    equals: Scalar | None = Field(None, description="the value")
    one_of: list[Scalar] | None = Field(None, min_length=1, description="a list of values")
    above: float | None = Field(None, description="a number")
    below: float | None = Field(None, description="a number")

    @model_validator(mode="after")
    def _something(self) -> Compare:
        if all(getattr(self, name) is None for name in Compare.model_fields):
            raise ValueError("compares with nothing | write equals, one_of, above or below")
        return self


class PayloadCheck(Compare):
    """A look at a message's payload."""

    field: str = Field("", description="a key of the JSON payload, a.b for one inside; without it the whole")


class RestTrigger(Shape):
    """Called by name: REST, WebSocket, and MQTT on ai_automation/trigger/<id>."""


class MqttTrigger(Shape):
    """A message on a topic."""

    topic: TopicFilter = Field(description="an MQTT topic, + and # allowed")
    payload: list[PayloadCheck] = Field(
        default=[], description="a list of {field, equals|one_of|above|below}"
    )


class EveryTrigger(Shape):
    """An interval."""

    hours: int = Field(0, ge=0, le=8760, description="whole hours, 0 or more")
    minutes: int = Field(0, ge=0, le=527040, description="whole minutes, 0 or more")
    seconds: int = Field(0, ge=0, le=31622400, description="whole seconds, 0 or more")

    @property
    def length(self) -> int:
        """Seconds."""
        return self.hours * 3600 + self.minutes * 60 + self.seconds

    @model_validator(mode="after")
    def _some_time(self) -> EveryTrigger:
        if self.length < 1:
            raise ValueError("is no time at all | write hours, minutes or seconds")
        return self


class AtTrigger(Shape):
    """A time of day, in the config's time zone."""

    time: Clock = Field(description='"07:30" or "07:30:15"')
    weekdays: list[Weekday] = Field(default=list(WEEKDAYS), min_length=1, description="a list of mon ... sun")


class Trigger(Shape):
    """What starts a run."""

    rest: RestTrigger | None = Field(None, description="{}")
    mqtt: MqttTrigger | None = Field(None, description="{topic, payload}")
    every: EveryTrigger | None = Field(None, description="{hours, minutes, seconds}")
    at: AtTrigger | None = Field(None, description="{time, weekdays}")

    @model_validator(mode="after")
    def _one(self) -> Trigger:
        _exactly_one(self, ("rest", "mqtt", "every", "at"))
        return self


class ValueCondition(Compare):
    """A template's value compared."""

    value: str = Field(description='a template, e.g. "{{ trigger.data.temperature }}"')


class StateCondition(Compare):
    """An entity's state in Home Assistant compared."""

    entity_id: str = Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$", description="an entity, e.g. sun.sun")


class TimeCondition(Shape):
    """A part of the day or week; after > before reaches over midnight."""

    after: Clock | None = Field(None, description='"22:00", inclusive')
    before: Clock | None = Field(None, description='"06:00", exclusive')
    weekdays: list[Weekday] = Field(default=list(WEEKDAYS), min_length=1, description="a list of mon ... sun")


class Condition(Shape):
    """What must hold for a run to act."""

    template: str | None = Field(None, description="a template that gives true or false")
    value: ValueCondition | None = Field(None, description="{value, equals|one_of|above|below}")
    state: StateCondition | None = Field(None, description="{entity_id, equals|one_of|above|below}")
    time: TimeCondition | None = Field(None, description="{after, before, weekdays}")

    @model_validator(mode="after")
    def _one(self) -> Condition:
        _exactly_one(self, ("template", "value", "state", "time"))
        return self


class HomeAssistantAction(Shape):
    """A service call."""

    service: str = Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$", description="a service, e.g. light.turn_on")
    target: dict[str, Any] = Field(default={}, description="{entity_id, device_id, area_id, ...}")
    data: dict[str, Any] = Field(default={}, description="the service's fields")
    response: bool = Field(False, description="true where the service's answer is wanted")


class McpHubAction(Shape):
    """A tool of a server behind the MCP hub."""

    server: str = Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$", description="the server's name at the hub"
    )
    tool: str = Field(pattern=r"^[A-Za-z0-9_./-]{1,128}$", description="the tool's name")
    arguments: dict[str, Any] = Field(default={}, description="the tool's arguments")


class MqttAction(Shape):
    """A message."""

    topic: str = Field(min_length=1, description="a topic without + and #; templates allowed")
    payload: Any = Field("", description="a text, or data that is sent as JSON")
    qos: Literal[0, 1, 2] = Field(1, description="0, 1 or 2")
    retain: bool = Field(False, description="true or false")


class NotifyAction(Shape):
    """A notification by one of Home Assistant's notify services."""

    service: str = Field(pattern=_NAME, description="the name after notify., e.g. mobile_app_phone")
    title: str | None = Field(None, description="a text")
    message: str = Field(min_length=1, description="a text")
    data: dict[str, Any] = Field(default={}, description="the service's data")


class WaitAction(Shape):
    """A pause."""

    seconds: float = Field(gt=0, le=86400, description="seconds, above 0, at most 86400")


class Step(Shape):
    """An action that needs no model."""

    id: str | None = Field(None, pattern=_NAME, description=_NAME_RIGHT)
    idempotent: bool | None = Field(None, description="true where doing it twice is the same as once")
    home_assistant: HomeAssistantAction | None = Field(None, description="{service, target, data}")
    mcp_hub: McpHubAction | None = Field(None, description="{server, tool, arguments}")
    mqtt: MqttAction | None = Field(None, description="{topic, payload, qos, retain}")
    notify: NotifyAction | None = Field(None, description="{service, title, message, data}")
    wait: WaitAction | None = Field(None, description="{seconds}")

    @model_validator(mode="after")
    def _one(self) -> Step:
        _exactly_one(self, self.kinds())
        return self

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The kinds of action, in the order they are documented."""
        return tuple(name for name in cls.model_fields if name not in _NO_KIND)

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(kind for kind in self.kinds() if getattr(self, kind) is not None)

    @property
    def repeatable(self) -> bool:
        """Whether it may be done again when nobody knows if it was done."""
        if self.idempotent is not None:
            return self.idempotent
        return self.home_assistant is not None and bool(_SAFE_SERVICE.search(self.home_assistant.service))


_NO_KIND = ("id", "idempotent", "description", "parameters", "optional")
# Services that set a state: doing them twice leaves the same state.
_SAFE_SERVICE = re.compile(r"\.(turn_on|turn_off|set_\w+|open_\w+|close_\w+|lock|unlock|select_option)$")


class AllowedAction(Step):
    """An action that the model may choose."""

    id: str = Field(pattern=_NAME, description=_NAME_RIGHT)
    description: str = Field("", description="a text that tells the model what it does")
    parameters: dict[str, dict[str, Any]] = Field(
        default={}, description="{name: JSON schema}; {{ arguments.name }} in the action"
    )
    optional: list[str] = Field(default=[], description="parameters that the model may leave out")

    def schema_of_arguments(self) -> dict[str, Any]:
        """The JSON schema (draft 2020-12) that the model's arguments must satisfy; nothing beyond it."""
        required = [name for name in self.parameters if name not in self.optional]
        return {
            "type": "object",
            "properties": self.parameters,
            "required": required,
            "additionalProperties": False,
        }


class ChooseAction(Shape):
    """A model chooses among actions of this rule."""

    model: Literal[True] = Field(description="true")
    prompt: str = Field(min_length=1, description="a text; templates allowed")
    allowed: list[AllowedAction] = Field(min_length=1, description="a list of actions, each with an id")
    at_most: int = Field(1, ge=1, le=16, description="how many it may choose, 1 to 16")
    may_decline: bool = Field(False, description="true where choosing nothing is fine")


class Action(Step):
    """One action of an automation."""

    choose: ChooseAction | None = Field(None, description="{model: true, prompt, allowed}")


class Retries(Shape):
    """How often and how soon an action that failed is tried again."""

    times: int = Field(2, ge=0, le=20, description="tries after the first, 0 to 20")
    delay: float = Field(0.5, gt=0, le=300, description="seconds before the second try; doubled each time")
    max_delay: float = Field(30, gt=0, le=3600, description="seconds, the longest pause")


class Automation(Shape):
    """One automation."""

    id: str = Field(pattern=_NAME, description=_NAME_RIGHT)
    description: str = Field("", description="a text")
    enabled: bool = Field(True, description="true or false")
    triggers: list[Trigger] = Field(min_length=1, description="a list of rest, mqtt, every, at")
    conditions: list[Condition] = Field(default=[], description="a list of template, value, state, time")
    actions: list[Action] = Field(min_length=1, description="a list of actions, done in this order")
    mode: Literal["single", "queued", "restart"] = Field("single", description="single, queued or restart")
    max_queued: int = Field(10, ge=1, le=1000, description="how many may wait in mode queued, 1 to 1000")
    timeout: float = Field(60, gt=0, le=172800, description="seconds for a whole run, above 0")
    on_error: Literal["stop", "continue"] = Field("stop", description="stop or continue")
    retries: Retries = Field(default_factory=Retries, description="{times, delay, max_delay}")

    def called(self) -> bool:
        """Whether it may be triggered by name."""
        return any(trigger.rest is not None for trigger in self.triggers)

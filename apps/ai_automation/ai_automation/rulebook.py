"""The rules, from their files to what the engine works with; every mistake of all files at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from paho.mqtt.client import topic_matches_sub

from ai_automation import templates
from ai_automation.broker import BASE, STATUS
from ai_automation.config import Config
from ai_automation.mistakes import InvalidError, Mistake, Place, shown
from ai_automation.rules import Action, AllowedAction, Automation, Step
from ai_automation.shape import build
from ai_automation.yamlfile import Document, read

_NEEDS = {
    "home_assistant": "home_assistant",
    "notify": "home_assistant",
    "mcp_hub": "mcp_hub",
    "mqtt": "mqtt",
}
_TOP = "a rules file is automations: and a list"


@dataclass
class _Found:
    automations: dict[str, Automation] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # id -> file:line
    mistakes: list[Mistake] = field(default_factory=list)


def load_rules(config: Config) -> dict[str, Automation]:
    """Read the rules that the config names.

    Args:
        config: `rules` is a file or a folder, whose *.yaml files are read in the order of their names.

    Returns:
        The automations by id.

    Raises:
        InvalidError: with every mistake of every file.
    """
    found = _Found()
    for path in _files(Path(config.rules)):
        try:
            _file(read(path), config, found)
        except InvalidError as error:
            found.mistakes += error.mistakes
    if found.mistakes:
        raise InvalidError(found.mistakes)
    return found.automations


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def _file(document: Document, config: Config, found: _Found) -> None:
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("automations"), list):
        found.mistakes.append(document.mistake(("automations",), "is missing or no list", _TOP))
        return
    for key in data.keys() - {"automations"}:
        found.mistakes.append(document.mistake((key,), "is not a field here", _TOP))
    for number in range(len(data["automations"])):
        place: Place = ("automations", number)
        try:
            automation = build(Automation, document, place)
        except InvalidError as error:
            found.mistakes += error.mistakes
            continue
        for inside, wrong, right in _check(automation, config):
            found.mistakes.append(document.mistake((*place, *inside), wrong, right))
        _add(automation, document, place, found)


def _add(automation: Automation, document: Document, place: Place, found: _Found) -> None:
    here = document.mistake((*place, "id"), "", "")
    if automation.id in found.automations:
        wrong = f"{automation.id} is there already, at {found.places[automation.id]}"
        found.mistakes.append(document.mistake((*place, "id"), wrong, "give each automation its own id"))
        return
    found.automations[automation.id] = automation
    found.places[automation.id] = f"{here.file}:{here.line}"


_Problem = tuple[Place, str, str]


def _check(automation: Automation, config: Config) -> Iterator[_Problem]:
    """What the shape alone does not show."""
    yield from _check_triggers(automation, config)
    for number, condition in enumerate(automation.conditions):
        place: Place = ("conditions", number)
        texts = condition.model_dump(include={"template", "value"}, exclude_none=True)
        yield from _templates(place, texts, templates.VARIABLES)
        if condition.state is not None and config.home_assistant is None:
            yield (*place, "state"), "needs Home Assistant", "add home_assistant to the config"
    ids: set[str] = set()
    for number, action in enumerate(automation.actions):
        yield from _check_action(("actions", number), action, config, templates.VARIABLES)
        yield from _check_id(("actions", number), action, ids)
    yield from _check_waits(automation)


def _check_triggers(automation: Automation, config: Config) -> Iterator[_Problem]:
    sent = [action.mqtt.topic for action in automation.actions if action.mqtt is not None]
    for number, trigger in enumerate(automation.triggers):
        if trigger.mqtt is None:
            continue
        place: Place = ("triggers", number, "mqtt")
        if config.mqtt is None:
            yield place, "needs a broker", "add mqtt to the config"
        for own in (STATUS, f"{BASE}/runs/x"):
            if topic_matches_sub(trigger.mqtt.topic, own):
                yield (*place, "topic"), "is set off by this service's own messages", f"leave {BASE}/ out"
        for topic in sent:
            if "{" not in topic and topic_matches_sub(trigger.mqtt.topic, topic):
                yield (*place, "topic"), f"is set off by its own action on {topic}", "use another topic"


def _check_id(place: Place, action: Step, ids: set[str]) -> Iterator[_Problem]:
    if action.id is not None and action.id in ids:
        yield (*place, "id"), f"{action.id} stands twice", "give each action its own id"
    ids.add(action.id or "")


def _check_waits(automation: Automation) -> Iterator[_Problem]:
    waits = sum(action.wait.seconds for action in automation.actions if action.wait is not None)
    if waits >= automation.timeout:
        yield (
            ("timeout",),
            f"{automation.timeout:g} s is over before the waits of {waits:g} s are",
            "raise it",
        )


def _check_action(
    place: Place, action: Step, config: Config, variables: frozenset[str]
) -> Iterator[_Problem]:
    kind = action.kind
    here = (*place, kind)
    if kind in _NEEDS and getattr(config, _NEEDS[kind]) is None:
        yield here, f"needs {_NEEDS[kind]}", f"add {_NEEDS[kind]} to the config"
    if isinstance(action, Action) and action.choose is not None:
        yield from _check_choose(here, action, config)
        return
    yield from _templates(here, getattr(action, kind).model_dump(), variables)
    if action.mqtt is not None and "{" not in action.mqtt.topic and set("+#") & set(action.mqtt.topic):
        yield (*here, "topic"), f"{shown(action.mqtt.topic)} has a wildcard", "name one topic"


def _check_choose(place: Place, action: Action, config: Config) -> Iterator[_Problem]:
    choose = action.choose
    assert choose is not None
    if config.model is None or not config.model.enabled:
        yield (
            place,
            "needs a model, which is off",
            "set model.enabled: true in the config, or leave choose out",
        )
    yield from _templates((*place, "prompt"), choose.prompt, templates.VARIABLES)
    ids: set[str] = set()
    for number, allowed in enumerate(choose.allowed):
        here = (*place, "allowed", number)
        yield from _check_action(here, allowed, config, templates.VARIABLES | {"arguments"})
        yield from _check_id(here, allowed, ids)
        yield from _check_parameters(here, allowed)


def _check_parameters(place: Place, allowed: AllowedAction) -> Iterator[_Problem]:
    for name in allowed.optional:
        if name not in allowed.parameters:
            yield (*place, "optional"), f"{name} is no parameter", "name one of parameters"
    for name, schema in allowed.parameters.items():
        if _refers(schema):
            yield (*place, "parameters", name), "refers to another schema", "write it out, without $ref"
            continue
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            yield (
                (*place, "parameters", name),
                f"is not a JSON schema: {error.message}",
                "e.g. {type: integer}",
            )


def _refers(schema: Any) -> bool:
    if isinstance(schema, dict):
        return any("ref" in str(key).lower() and str(key).startswith("$") for key in schema) or any(
            map(_refers, schema.values())
        )
    return isinstance(schema, list) and any(map(_refers, schema))


def _templates(place: Place, value: Any, variables: frozenset[str]) -> Iterator[_Problem]:
    right = f"there are {', '.join(sorted(variables))}; README.md, Templates"
    for inside, wrong in templates.check(value, variables):
        yield (*place, *inside), wrong, right

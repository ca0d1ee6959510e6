"""Conditions, and a model that chooses among allowed actions: a stand-in that speaks chat completions."""

from __future__ import annotations

from typing import Any

import pytest
from ai_kit import LIGHT, SECRETS, Home, Standing, rule
from ai_peers import COMPLETIONS, Answer, Peer, chat_peer, chooses, says

ALLOWED = [
    {
        "id": "dim",
        "description": "Dim the hall",
        "parameters": {"level": {"type": "integer", "minimum": 0, "maximum": 255}, "why": {"type": "string"}},
        "optional": ["why"],
        "home_assistant": {
            "service": "light.turn_on",
            "target": {"entity_id": "light.hall"},
            "data": {"brightness": "{{ arguments.level }}"},
        },
    },
    {"id": "tell", "notify": {"service": "phone", "message": "{{ arguments.why | default('Now') }}"}},
]


def choose(**more: Any) -> dict[str, Any]:
    asked = {"model": True, "prompt": "It is {{ trigger.data }}.", "allowed": ALLOWED}
    return {"choose": {**asked, **more}}


RULES = (
    rule("one", choose()),
    rule("two", choose(at_most=2)),
    rule("maybe", choose(may_decline=True)),
    rule("template", LIGHT, conditions=[{"template": "{{ trigger.data.level > 3 }}"}]),
    rule("vague", LIGHT, conditions=[{"template": "{{ trigger.data.level }}"}]),
    rule("value", LIGHT, conditions=[{"value": {"value": "{{ trigger.data }}", "above": 1, "below": 3}}]),
    rule("state", LIGHT, conditions=[{"state": {"entity_id": "sun.sun", "equals": "below_horizon"}}]),
)


@pytest.fixture(scope="module")
def chat() -> Any:
    with chat_peer() as peer:
        yield peer


@pytest.fixture
def served(standing: Standing, chat: Peer) -> Standing:
    if standing.home.process is None:
        standing.home.with_model(chat)
    standing.fresh(*RULES)
    chat.requests.clear()
    return standing


def test_the_model_is_asked_with_the_allowed_actions_only(served: Standing, chat: Peer) -> None:
    chat.answers[COMPLETIONS] = [chooses(("dim", {"level": 40}))]
    run = served.home.run("one", "dark")
    assert run["state"] == "succeeded", run
    assert run["actions"][0]["result"] == [{"action": "dim", "arguments": {"level": 40}, "result": []}]
    (call,) = served.assistant.calls()
    assert call.body == {"entity_id": "light.hall", "brightness": 40}
    (asked,) = chat.requests
    assert asked.token == SECRETS["model_key"]
    assert asked.body["model"] == "tiny"
    assert asked.body["messages"][-1] == {"role": "user", "content": "It is dark."}
    functions = [tool["function"] for tool in asked.body["tools"]]
    assert [function["name"] for function in functions] == ["dim", "tell"]
    assert functions[0]["parameters"]["required"] == ["level"]
    assert functions[1]["parameters"] == {
        "type": "object", "properties": {}, "required": [], "additionalProperties": False,
    }  # fmt: skip
    assert asked.body["tool_choice"] == "required"


@pytest.mark.parametrize(
    "answer",
    [
        says('{"action": "dim", "arguments": {"level": 7}}'),
        says('{"actions": [{"action": "dim", "arguments": {"level": 7}}]}'),
        says('[{"action": "dim", "arguments": {"level": 7}}]'),
    ],
)
def test_json_in_the_text_counts_as_well(served: Standing, chat: Peer, answer: Answer) -> None:
    chat.answers[COMPLETIONS] = [answer]
    assert served.home.run("one")["state"] == "succeeded"
    assert served.assistant.calls()[0].body["brightness"] == 7


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (chooses(("unlock_door", {})), "refused: the model chose 'unlock_door', which is not allowed"),
        (chooses(("light.turn_on", {"level": 1})), "which is not allowed"),
        (
            chooses(("dim", {"level": 1}), ("dim", {"level": 2})),
            "refused: the model chose 2 actions, at most 1",
        ),
        (chooses(("dim", {"level": 256})), "256 is greater than the maximum"),
        (chooses(("dim", {"level": "all"})), "is not of type 'integer'"),
        (chooses(("dim", {})), "'level' is a required property"),
        (chooses(("dim", {"level": 1, "entity_id": "lock.door"})), "Additional properties are not allowed"),
        (chooses(("dim", "{")), "arguments are not JSON"),
        (chooses(("dim", "[]")), "is not of type 'object'"),
        (says('{"action": "unlock_door", "arguments": {}}'), "not allowed"),
        (says('{"action": {"dim": 1}}'), "not allowed"),
        (says("I would turn on the light."), "the model chose nothing"),
        (says("[]"), "the model chose nothing"),
        (says("[1]"), "not a chat completion"),
        (Answer(200, {"choices": []}), "not a chat completion"),
        (Answer(200, []), "not a chat completion"),
        (Answer(200, raw=b"<html>"), "not JSON"),
        (Answer(401, {"error": {"message": "Incorrect API key"}}), "model answered 401: Incorrect API key"),
        (Answer(500), "model answered 500"),
    ],
)
def test_what_is_not_allowed_is_refused_and_nothing_is_done(
    served: Standing, chat: Peer, answer: Answer, words: str
) -> None:
    chat.answers[COMPLETIONS] = [answer]
    run = served.home.run("one")
    assert run["state"] == "failed"
    assert words in run["actions"][0]["error"]
    assert served.assistant.calls() == []


def test_one_forbidden_choice_spoils_the_allowed_ones(served: Standing, chat: Peer) -> None:
    chat.answers[COMPLETIONS] = [chooses(("dim", {"level": 1}), ("unlock_door", {}))]
    assert "not allowed" in served.home.run("two")["error"]
    assert served.assistant.calls() == []
    chat.answers[COMPLETIONS] = [chooses(("tell", {}), ("dim", {"level": 1}))]
    assert served.home.run("two")["state"] == "succeeded"
    assert [call.path.rpartition("/")[2] for call in served.assistant.calls()] == ["phone", "turn_on"]


def test_what_was_done_before_a_failure_is_recorded(served: Standing, chat: Peer) -> None:
    chat.answers[COMPLETIONS] = [chooses(("tell", {}), ("dim", {"level": 1}))]
    served.assistant.answers["/api/services/light/turn_on"] = [Answer(400, {"message": "no"})]
    (outcome,) = served.home.run("two")["actions"]
    assert outcome["state"] == "failed"
    assert [done["action"] for done in outcome["result"]] == ["tell", "dim"]


def test_the_models_words_are_data(served: Standing, chat: Peer) -> None:
    chat.answers[COMPLETIONS] = [chooses(("dim", {"level": 3, "why": "{{ 7 * 7 }}"}))]
    assert served.home.run("one")["state"] == "succeeded"
    (_asked, *_) = chat.requests
    assert served.home.run("one", "{{ 7 * 7 }}")["state"] == "succeeded"
    assert chat.requests[-1].body["messages"][-1]["content"] == "It is {{ 7 * 7 }}."


def test_a_model_may_decline_where_the_rule_says_so(served: Standing, chat: Peer) -> None:
    chat.answers[COMPLETIONS] = [says("Nothing to do.")]
    assert served.home.run("maybe")["state"] == "succeeded"
    assert chat.requests[0].body["tool_choice"] == "auto"
    assert served.assistant.calls() == []


def test_a_slow_model_is_not_waited_for(home: Home, chat: Peer) -> None:
    home.with_model(chat, timeout=2)
    home.serve(*RULES)
    chat.answers[COMPLETIONS] = [Answer(after=2.5), chooses(("dim", {"level": 9}))]
    run = home.run("one")
    assert (run["state"], run["actions"][0]["attempts"]) == ("succeeded", 3)  # asked twice, done once


@pytest.mark.parametrize(
    ("name", "data", "state"),
    [
        ("template", {"level": 4}, "succeeded"),
        ("template", {"level": 3}, "skipped"),
        ("template", {}, "failed"),
        ("vague", {"level": 1}, "failed"),
        ("vague", {"level": "true"}, "failed"),
        ("value", 2, "succeeded"),
        ("value", "2.5", "succeeded"),
        ("value", 3, "skipped"),
        ("value", 1, "skipped"),
        ("value", "two", "skipped"),
        ("value", True, "skipped"),
    ],
)
def test_conditions(served: Standing, name: str, data: Any, state: str) -> None:
    run = served.home.run(name, data)
    assert run["state"] == state, run
    assert len(served.assistant.calls()) == (1 if state == "succeeded" else 0)
    assert run["actions"][0]["state"] == ("succeeded" if state == "succeeded" else "not_run")


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (Answer(200, {"state": "below_horizon"}), "succeeded", ""),
        (Answer(200, {"state": "above_horizon"}), "skipped", "condition 1 does not hold"),
        (Answer(404, {"message": "Entity not found."}), "failed", "condition 1: home_assistant answered 404"),
        (Answer(500), "failed", "condition 1: home_assistant answered 500"),
    ],
)
def test_a_condition_on_a_state(served: Standing, answer: Answer, state: str, words: str) -> None:
    served.assistant.answers["/api/states/sun.sun"] = [answer]
    run = served.home.run("state")
    assert run["state"] == state
    assert words in run["error"]

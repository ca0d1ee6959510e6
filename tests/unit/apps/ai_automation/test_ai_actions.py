"""What a run does, and what becomes of it when the other side fails."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ai_kit import LIGHT, SECRETS, Home, Mosquitto, Mqtt, Standing, rule
from ai_peers import Answer, Peer

SERVICE = "/api/services/light/turn_on"


STANDING = (
    rule("light", LIGHT, {"wait": {"seconds": 0.01}}),
    rule("tool", {"mcp_hub": {"server": "house", "tool": "x"}}),
    rule("sly", {"mcp_hub": {"server": "x", "tool": "../../admin"}}),
    rule("go_on", LIGHT, {"notify": {"service": "phone", "message": "x"}}, LIGHT, on_error="continue"),
    rule("slow", LIGHT, LIGHT, timeout=0.3),
    rule("greet", {"notify": {"service": "phone", "message": "{{ trigger.data.name }}"}}),
)


def outcomes(run: dict[str, Any]) -> list[tuple[str, int]]:
    return [(outcome["state"], outcome["attempts"]) for outcome in run["actions"]]


def test_actions_are_done_in_order_with_the_triggers_data(
    home: Home, assistant: Peer, hub: Peer, broker: Mosquitto
) -> None:
    home.with_mqtt(broker)
    hub.answers["/api/servers/house/tools/set_scene"] = [Answer(200, {"result": {"name": "evening"}})]
    home.serve(
        rule(
            "all",
            {
                "home_assistant": {
                    "service": "light.turn_on",
                    "target": {"entity_id": ["light.a", "{{ trigger.data.lamp }}"]},
                    "data": {"brightness": "{{ trigger.data.level }}"},
                }
            },
            {"id": "scene", "mcp_hub": {"server": "house", "tool": "set_scene", "arguments": {"n": 1}}},
            {"wait": {"seconds": 0.2}},
            {"mqtt": {"topic": "out/{{ trigger.data.lamp }}", "payload": {"on": True}}},
            {
                "notify": {
                    "service": "mobile_app_phone",
                    "title": "{{ trigger.data.level }}",
                    "message": "Scene {{ results.scene.result.name }} for {{ trigger.by }}",
                }
            },
        )
    )
    with Mqtt(broker, "out/#") as mqtt:
        run = home.run("all", {"lamp": "light.b", "level": 70})
        assert outcomes(run) == [("succeeded", 1)] * 5, run
        assert mqtt.heard == [("out/light.b", '{"on": true}', False)]
    light, note = assistant.calls()
    assert (light.path, light.token) == (SERVICE, SECRETS["home_assistant_token"])
    assert light.body == {"brightness": 70, "entity_id": ["light.a", "light.b"]}  # a number stays one
    assert note.path == "/api/services/notify/mobile_app_phone"
    assert note.body == {"title": "70", "message": "Scene evening for all"}
    (tool,) = hub.calls("/api/servers")
    assert (tool.token, tool.body) == (SECRETS["mcp_hub_token"], {"arguments": {"n": 1}})
    assert run["state"] == "succeeded"
    wait, after = run["actions"][2], run["actions"][3]
    assert wait["finished"] - wait["started"] >= 0.2
    assert after["started"] >= wait["finished"]


def test_a_service_may_be_asked_for_its_answer(home: Home, assistant: Peer) -> None:
    path = "/api/services/weather/get_forecasts?return_response"
    assistant.answers[path] = [Answer(200, {"service_response": {"rain": 4}})]
    ask = {"id": "ask", "home_assistant": {"service": "weather.get_forecasts", "response": True}}
    tell = {"notify": {"service": "phone", "message": "{{ results.ask.service_response.rain }} mm"}}
    home.serve(rule("rain", ask, tell))
    assert home.run("rain")["state"] == "succeeded"
    assert assistant.calls()[-1].body == {"message": "4 mm"}


@pytest.mark.parametrize(
    ("answer", "attempts", "words"),
    [
        (Answer(401, {"message": "Unauthorized"}), 1, "answered 401: Unauthorized"),
        (Answer(400, {"message": "no such service"}), 1, "no such service"),
        (Answer(500, {"message": "boom"}), 3, "answered 500"),
        (Answer(503), 3, "answered 503"),
        (Answer(302), 1, "answered 302"),
        (Answer(200, raw=b"<html>"), 3, "not JSON"),
        (Answer(200, raw=b"[" + b"1," * 700000 + b"1]"), 3, "more than 1048576 bytes"),
        (Answer(401, {"message": f"bad token {SECRETS['home_assistant_token']}"}), 1, "bad token ***"),
    ],
)
def test_home_assistant_fails(standing: Standing, answer: Answer, attempts: int, words: str) -> None:
    home, assistant = standing.fresh(*STANDING), standing.assistant
    assistant.answers[SERVICE] = [answer]
    run = home.run("light")
    assert run["state"] == "failed"
    assert outcomes(run) == [("failed", attempts), ("not_run", 0)]
    assert words in run["actions"][0]["error"]
    assert len(assistant.calls()) == attempts


def test_a_slow_home_assistant_is_not_waited_for(home: Home, assistant: Peer) -> None:
    home.config["home_assistant"]["timeout"] = 0.4
    home.serve(rule("light", LIGHT))
    assistant.answers[SERVICE] = [Answer(after=3)]
    run = home.run("light")
    assert outcomes(run) == [("failed", 3)]
    assert "did not answer within 0.4 s" in run["actions"][0]["error"]


def test_home_assistant_is_down(home: Home, assistant: Peer, hub: Peer) -> None:
    tool = {"mcp_hub": {"server": "house", "tool": "x"}}
    home.serve(rule("light", LIGHT), rule("other", tool))
    assistant.stop()
    run = home.run("light")
    assert (run["state"], run["actions"][0]["attempts"]) == ("failed", 3)
    assert "cannot be reached" in run["error"]
    assert home.run("other")["state"] == "succeeded"


def test_what_may_have_been_done_is_not_done_again(home: Home, assistant: Peer) -> None:
    """A toggle that answered 500 may have toggled; one marked idempotent, or never sent, is tried again."""
    path = "/api/services/light/toggle"
    toggle = {"service": "light.toggle"}
    home.serve(
        rule("toggle", {"home_assistant": toggle}),
        rule("marked", {"home_assistant": toggle, "idempotent": True}),
        rule("never", {**LIGHT, "idempotent": False}),
    )
    assistant.answers[path] = [Answer(500), Answer(200)]
    assert outcomes(home.run("toggle")) == [("failed", 1)]
    assistant.answers[path] = [Answer(500), Answer(200)]
    assert outcomes(home.run("marked")) == [("succeeded", 2)]
    assistant.answers[SERVICE] = [Answer(500), Answer(200)]
    assert outcomes(home.run("never")) == [("failed", 1)]
    assistant.stop()
    assert outcomes(home.run("toggle")) == [("failed", 3)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(404, {"error": {"code": "unknown_tool", "message": "no tool x"}}), "answered 404: no tool x"),
        (Answer(502, {"error": "server is down"}), "answered 502: server is down"),
        (Answer(504, {"error": {"message": "too slow"}}), "answered 504: too slow"),
        (
            Answer(200, {"result": {"isError": True, "content": [{"type": "text", "text": "bulb is gone"}]}}),
            "bulb is gone",
        ),
        (Answer(200, {"isError": True, "content": []}), "the tool x failed"),
    ],
)
def test_the_hub_fails(standing: Standing, answer: Answer, words: str) -> None:
    home = standing.fresh(*STANDING)
    standing.hub.answers["/api/servers/house/tools/x"] = [answer]
    run = home.run("tool")
    assert (run["state"], run["actions"][0]["attempts"]) == ("failed", 1)
    assert words in run["actions"][0]["error"]


def test_a_tools_name_stays_one_part_of_the_path(standing: Standing) -> None:
    standing.fresh(*STANDING).run("sly")
    assert standing.hub.calls("/api/servers")[0].path == "/api/servers/x/tools/..%2F..%2Fadmin"


def test_on_error_continue_does_the_rest(standing: Standing) -> None:
    home = standing.fresh(*STANDING)
    standing.assistant.answers[SERVICE] = [Answer(400)]
    run = home.run("go_on")
    assert [outcome["state"] for outcome in run["actions"]] == ["failed", "succeeded", "failed"]
    assert (run["state"], run["error"]) == ("failed", "2 of 3 actions failed")


def test_a_run_has_a_timeout(standing: Standing) -> None:
    home = standing.fresh(*STANDING)
    standing.assistant.answers[SERVICE] = [Answer(after=3)]
    begin = time.monotonic()
    run = home.run("slow")
    assert time.monotonic() - begin < 2
    assert run["state"] == "timed_out"
    assert [outcome["state"] for outcome in run["actions"]] == ["cancelled", "not_run"]


def test_mqtt_that_the_broker_refuses_fails(home: Home, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    home.serve(
        rule("forbidden", {"mqtt": {"topic": "forbidden/x", "payload": "1"}}),
        rule("wild", {"mqtt": {"topic": "out/{{ trigger.data }}", "payload": "1"}}),
    )
    assert "refused forbidden/x" in home.run("forbidden")["error"]
    assert "not a topic" in home.run("wild", "#")["error"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ trigger.data.nothing.here }}",
        "{{ trigger.data.text|attr('__cl' ~ 'ass__') }}",
        "{{ trigger.data['__cl' ~ 'ass__']['__mro__'] }}",
        "{{ '%s'|attr('for' ~ 'mat')('x') }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ range(100000000)|list }}",
        "{{ trigger.data.update({'a': 1}) }}",
        "{{ trigger.data.clear }}",
        "{{ 1 / 0 }}",
        "{% for a in range(999) %}{% for b in range(999) %}xxxxxxxxxx{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_fails_or_wants_out_does_nothing(template: str) -> None:
    from ai_automation.templates import BadTemplateError, render

    with pytest.raises(BadTemplateError):
        render({"x": [template]}, {"trigger": {"data": {"text": "x"}}})


def test_a_template_that_fails_fails_its_action(standing: Standing) -> None:
    home, assistant = standing.fresh(*STANDING), standing.assistant
    run = home.run("greet", {"other": 1})
    assert (run["state"], run["actions"][0]["attempts"]) == ("failed", 1)
    assert "template: 'dict object' has no attribute 'name'" in run["error"]
    injected = "{{ 7 * 7 }} {% raw %}"
    assert home.run("greet", {"name": injected})["state"] == "succeeded"
    assert [call.body for call in assistant.calls()] == [{"message": injected}]  # data is never a template


def test_values_keep_their_type_or_become_a_text() -> None:
    from ai_automation.templates import render

    context = {"trigger": {"data": {"n": 21.5, "items": ["a"], "yes": True, "text": "012"}}}
    assert render("{{ trigger.data.n }}", context) == 21.5
    assert render(" {{- trigger.data['items'] -}} ", context) == ["a"]
    assert render("{{ trigger.data.items }}", context) == ["a"]  # the data's own key, not dict.items
    assert render("{{ trigger.data.yes }}", context) is True
    assert render("{{ trigger.data.text }}", context) == "012"
    assert render("{{ trigger.data.n }} degrees", context) == "21.5 degrees"
    assert render("{{ trigger.data.n }}{{ trigger.data.n }}", context) == "21.521.5"
    assert render("{{ '}}' }}", context) == "}}"
    assert render("plain", context) == "plain"
    assert render({"a": [1, None, "{{ 1 + 1 }}"]}, context) == {"a": [1, None, 2]}

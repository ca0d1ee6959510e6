"""MQTT both ways, with a real broker."""

from __future__ import annotations

import itertools
import json
import signal
from typing import Any

import pytest
from ai_kit import LIGHT, Home, Mosquitto, Mqtt, rule, until
from ai_peers import Peer

RUNS = "ai_automation/runs/"


def on(name: str, topic: str, *payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**rule(name, LIGHT, **more), "triggers": [{"mqtt": {"topic": topic, "payload": list(payload)}}]}


@pytest.mark.parametrize("tls", [False, True])
def test_a_message_sets_off_a_run_that_is_told_by_mqtt(
    home: Home, broker: Mosquitto, assistant: Peer, tls: bool
) -> None:
    home.with_mqtt(broker, tls)
    light = {
        "home_assistant": {
            "service": "light.turn_on",
            "data": {"b": "{{ trigger.data.level }}", "t": "{{ trigger.topic }}"},
        }
    }
    home.serve({**on("dim", "sensors/+/dial"), "actions": [light]}, rule("named", LIGHT))
    until(lambda: home.get("/health").json()["mqtt"] == "connected")
    with Mqtt(broker, "ai_automation/status") as mqtt:
        until(lambda: mqtt.payloads("ai_automation/status")[-1:] == ["online"], "the status")
    with Mqtt(broker, "ai_automation/status") as mqtt:
        until(lambda: mqtt.heard == [("ai_automation/status", "online", True)], "the retained status")
    with Mqtt(broker, "ai_automation/#") as mqtt:
        mqtt.say("sensors/hall/dial", {"level": 12})
        told = until(
            lambda: [json.loads(p) for t, p, _ in mqtt.heard if t.startswith(RUNS)][2:], "three states"
        )
        assert told[0]["state"] == "succeeded"
        assert (told[0]["automation"], told[0]["source"]) == ("dim", "mqtt")
        mqtt.say("ai_automation/trigger/named", {"x": 1})
        (run,) = until(lambda: home.runs("named"))
        assert run["trigger"] == {
            "source": "mqtt",
            "data": {"x": 1},
            "by": "",
            "topic": "ai_automation/trigger/named",
        }
        states = [
            json.loads(p)["state"]
            for p in until(lambda: mqtt.payloads(RUNS + run["id"])[2:] and mqtt.payloads(RUNS + run["id"]))
        ]
        assert states == ["queued", "running", "succeeded"]
    assert assistant.calls()[0].body == {"b": 12, "t": "sensors/hall/dial"}
    with Mqtt(broker, "ai_automation/status") as mqtt:
        until(lambda: mqtt.heard)
        home.kill()
        until(lambda: mqtt.payloads("ai_automation/status")[-1] == "offline", "the last will")


def test_only_what_fits_sets_off_a_run(home: Home, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    with Mqtt(broker) as mqtt:
        mqtt.say("sensors/last", "kept", retain=True)
    home.serve(
        on(
            "warm",
            "sensors/room",
            {"field": "climate.temperature", "above": 25},
            {"field": "open", "equals": False},
        ),
        on("text", "sensors/text", {"one_of": ["ON", "on"]}),
        on("last", "sensors/last"),
        on("off", "sensors/last", enabled=False),
    )
    with Mqtt(broker) as mqtt:
        until(lambda: home.get("/health").json()["mqtt"] == "connected")
        for payload in (
            {"climate": {"temperature": 25}, "open": False},
            {"climate": {"temperature": 26}, "open": True},
            {"climate": {"temperature": "hot"}, "open": False},
            {"climate": 30, "open": False},
            {"open": False},
            "not json {",
            [],
        ):
            mqtt.say("sensors/room", payload)
        mqtt.say("sensors/text", "off")
        for name in ("nobody", "warm", "", "a/b", "../warm"):
            mqtt.say(f"ai_automation/trigger/{name}", "{}")
        mqtt.say("sensors/last", "x" * 70000)  # larger than a body may be
        mqtt.say("sensors/room", {"climate": {"temperature": "25.5"}, "open": False})
        mqtt.say("sensors/text", "ON")
        mqtt.say("sensors/last", "the last")
        until(lambda: home.runs("last"))
    assert [run["trigger"]["data"] for run in home.runs("warm")] == [
        {"climate": {"temperature": "25.5"}, "open": False}
    ]
    assert [run["trigger"]["data"] for run in home.runs("text")] == ["ON"]
    assert [run["trigger"]["data"] for run in home.runs("last")] == ["the last"]  # not what was retained
    assert home.runs("off") == []


def test_overlapping_topics_fire_each_rule_once(home: Home, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    home.serve(on("all", "sensors/#"), on("one", "sensors/a"), on("level", "sensors/+"), on("end", "out/end"))
    with Mqtt(broker) as mqtt:
        until(lambda: home.get("/health").json()["mqtt"] == "connected")
        mqtt.say("sensors/a", "1")
        mqtt.say("out/end", "1")
        until(lambda: home.runs("end"))
    assert [len(home.runs(name)) for name in ("all", "one", "level")] == [1, 1, 1]
    assert [home.get(f"/api/automations/{name}").json()["refused"] for name in ("all", "one", "level")] == [
        0,
        0,
        0,
    ]


def test_the_broker_goes_and_comes_back(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Mosquitto(tmp_path_factory.mktemp("own")) as broker:
        home.with_mqtt(broker)
        broker.stop()
        home.serve(on("seen", "sensors/x"), rule("send", {"mqtt": {"topic": "out/x"}}), rule("light", LIGHT))
        assert home.get("/health").json()["mqtt"] != "connected"
        assert "mqtt is not connected" in home.run("send")["error"]
        early = home.run("light")["id"]
        for again in range(2):
            broker.start()
            with Mqtt(broker, "ai_automation/#", "out/#") as mqtt:
                until(lambda: home.get("/health").json()["mqtt"] == "connected")
                until(lambda mqtt=mqtt: mqtt.payloads("ai_automation/status"))
                if not again:  # what happened meanwhile is told afterwards
                    until(lambda mqtt=mqtt: mqtt.payloads(RUNS + early)[2:], "the states of a run before")
                mqtt.say("sensors/x", str(again))
                until(lambda again=again: len(home.runs("seen")) == again + 1)
                assert home.run("send")["state"] == "succeeded"
                until(lambda mqtt=mqtt: mqtt.payloads("out/x"))
            if not again:
                broker.stop()
                until(lambda: home.get("/health").json()["mqtt"] == "disconnected")


def test_a_wrong_password_is_said_and_the_rest_works(home: Home, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    home.secrets["mqtt_password"] = "wrong-canary"
    home.serve(rule("light", LIGHT))
    until(lambda: home.get("/health").json()["mqtt"] == "refused")
    until(lambda: "check user and password" in home.log())
    assert "wrong-canary" not in home.log()
    assert home.run("light")["state"] == "succeeded"


def test_a_certificate_of_another_ca_is_not_trusted(
    home: Home, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Mosquitto(tmp_path_factory.mktemp("other")) as other:
        home.with_mqtt(broker, tls=True)
        home.config["mqtt"]["ca_file"] = str(other.certificate)
        home.serve(rule("send", {"mqtt": {"topic": "out/x"}}))
        until(lambda: "cannot be reached" in home.log())
        assert home.get("/health").json()["mqtt"] == "disconnected"


def test_intervals_and_times_of_day(home: Home) -> None:
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    home.config["timezone"] = "Asia/Kolkata"
    beat = {**rule("beat", LIGHT), "triggers": [{"every": {"seconds": 1}}]}
    home.serve(beat)
    soon = datetime.now(ZoneInfo("Asia/Kolkata")) + timedelta(seconds=3)
    clock = {**rule("clock", LIGHT), "triggers": [{"at": {"time": soon.strftime("%H:%M:%S")}}]}
    home.write(beat, clock)
    home.signal(signal.SIGHUP)
    (run,) = until(lambda: home.runs("clock"))
    assert run["trigger"]["source"] == "at"
    assert -0.1 <= run["created"] - soon.replace(microsecond=0).timestamp() < 3
    beats = until(lambda: home.runs("beat")[2:] and home.runs("beat"))
    gaps = [a["created"] - b["created"] for a, b in itertools.pairwise(beats)]
    assert all(0.3 < gap < 3 for gap in gaps), gaps


def test_the_next_time_of_day() -> None:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from ai_automation.conditions import next_time
    from ai_automation.rules import AtTrigger

    zone = ZoneInfo("Europe/Berlin")

    def after(moment: str, clock: str, *days: str) -> str:
        more = {"weekdays": list(days)} if days else {}
        trigger = AtTrigger.model_validate({"time": clock, **more})
        found = next_time(trigger, datetime.fromisoformat(moment).replace(tzinfo=zone))
        return datetime.fromtimestamp(found.timestamp(), zone).isoformat()[:16]

    assert after("2026-03-02T07:00", "07:30") == "2026-03-02T07:30"
    assert after("2026-03-02T07:30", "07:30") == "2026-03-03T07:30"
    assert after("2026-03-02T08:00", "07:30", "mon") == "2026-03-09T07:30"  # the same weekday, a week on
    assert after("2026-12-31T23:59", "00:00") == "2027-01-01T00:00"
    assert after("2026-03-28T12:00", "02:30") == "2026-03-29T03:30"  # clocks go forward: an hour later
    assert after("2026-10-24T12:00", "02:30") == "2026-10-25T02:30"
    assert after("2026-10-25T02:31", "02:30") == "2026-10-26T02:30"  # clocks go back: once


def test_parts_of_the_day() -> None:
    from datetime import datetime

    from ai_automation.conditions import in_time
    from ai_automation.rules import TimeCondition

    def holds(moment: str, **condition: Any) -> bool:
        return in_time(TimeCondition.model_validate(condition), datetime.fromisoformat(moment))

    assert holds("2026-03-02T23:00", after="22:00", before="06:00")
    assert holds("2026-03-02T05:59", after="22:00", before="06:00")
    assert not holds("2026-03-02T06:00", after="22:00", before="06:00")
    assert holds("2026-03-02T06:00", after="06:00", before="22:00")
    assert not holds("2026-03-02T22:00", after="06:00", before="22:00")
    assert holds("2026-03-02T12:00", weekdays=["mon"])
    assert not holds("2026-03-03T12:00", weekdays=["mon"])
    assert not holds("2026-03-02T05:00", after="06:00")
    assert not holds("2026-03-02T07:00", before="06:00")

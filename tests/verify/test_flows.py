"""The three ways through the home that a family relies on, each from its first device to its last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flows_kit import Flows
from under_test import UnderTest

from twin.devices.phone import Phone


@pytest.fixture
def flows(under_test: UnderTest, tmp_path: Path) -> Flows:
    """The devices of the flows."""
    return Flows(under_test, tmp_path)


@pytest.fixture
def phone(flows: Flows) -> Iterator[Phone]:
    """A phone of the home."""
    with flows.phone() as phone:
        yield phone


def test_a_sensors_report_reaches_an_app_over_its_websocket(flows: Flows, phone: Phone) -> None:
    """Device, Zigbee2MQTT, Mosquitto, Home Assistant, HAProxy, WebSocket."""
    sensor = flows.value("sensor")
    socket = phone.socket()
    trigger = {"platform": "state", "entity_id": sensor, "from": None}
    events = socket.subscribe("subscribe_trigger", trigger=trigger)
    before = phone.state(sensor)["state"]
    value = 21.5 if before != "21.5" else 22.5
    flows.measure(value)
    event = flows.event(events, f"a report of {sensor}", lambda event: event.get("type") == "event")
    seen = event["event"]["variables"]["trigger"]["to_state"]["state"]
    assert seen not in ("unavailable", "unknown", before)
    if flows.under_test.values.get("verify_measure"):
        assert float(seen) == value
    socket.close()


def test_an_app_switches_a_light_and_the_light_has_switched(flows: Flows, phone: Phone) -> None:
    """App, HTTPS at the front door, Home Assistant, Mosquitto, Zigbee2MQTT, device; there and back."""
    light = flows.value("light")
    with flows.as_they_were(phone, light):
        was = flows.light_is_on(phone)
        for wanted in (not was, was):
            phone.call_service(f"light.turn_{'on' if wanted else 'off'}", entity_id=light)
            flows.until(
                f"{light} is {'on' if wanted else 'off'}", lambda w=wanted: flows.light_is_on(phone) == w
            )


def test_a_sensor_event_ends_in_two_actions_and_a_notification(flows: Flows, phone: Phone) -> None:
    """Sensor, Home Assistant, AI automation, MCP hub and Home Assistant, two devices, the phone's channel."""
    light, switch = flows.value("light"), flows.value("switch")
    flows.measure(flows.value("calm"))
    with flows.registered(phone), flows.as_they_were(phone, light, switch):
        for entity in (light, switch):
            phone.call_service("homeassistant.turn_off", entity_id=entity)
        flows.until(f"{light} is off", lambda: not flows.light_is_on(phone))
        flows.until(f"{switch} is off", lambda: phone.state(switch)["state"] == "off")
        flows.measure(flows.value("alarm"))
        phone.wait_for_notification(flows.patience)
        flows.until(f"{light} is on", lambda: flows.light_is_on(phone))
        flows.until(f"{switch} is on", lambda: phone.state(switch)["state"] == "on")
    flows.measure(flows.value("calm"))

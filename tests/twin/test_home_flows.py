"""The three flows in the twin: what each stands on, what goes on without, and that all come back unaided.

What is lost meanwhile: docs/services.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import Done, Home

SENSOR = "test_a_sensors_report_reaches_an_app_over_its_websocket"
SWITCH = "test_an_app_switches_a_light_and_the_light_has_switched"
EVENT = "test_a_sensor_event_ends_in_two_actions_and_a_notification"
ALL = {SENSOR, SWITCH, EVENT}
RESULT = re.compile(r"test_flows\.py::(?P<name>\w+) (?P<word>PASSED|FAILED|ERROR|SKIPPED)")
PATIENCE = {"HEARTH_VERIFY_PATIENCE": "20"}  # some flows are expected to fail, others pass on a busy machine
RETURN = 300  # seconds: guests boot, services try again, integrations come back, and each look takes its time

# Who is stopped, and the flows that cannot do without.
STOPPED = {
    "zigbee2mqtt": ("comms", "zigbee2mqtt.service", ALL),
    "broker": ("comms", "mosquitto.service", ALL),
    "home assistant": ("home-assistant", "home-assistant.service", ALL),
    "front door": ("home-assistant", "haproxy.service", ALL),
    "hub": ("comms", "mcp-hub.service", {EVENT}),
    "ai automation": ("comms", "ai-automation.service", {EVENT}),
    "front of comms": ("comms", "haproxy.service", {EVENT}),
}


def flows(home: Home) -> set[str]:
    """The flows that do not work now; none may be skipped."""
    return broken(look(home))


def look(home: Home) -> Done:
    """The three tests, against the home as it is."""
    return home.verify("-vv", "-k", "test_flows", env=PATIENCE)


def broken(done: Done) -> set[str]:
    """Those that failed."""
    found = {match["name"]: match["word"] for match in RESULT.finditer(done.text)}
    assert set(found) == ALL and "SKIPPED" not in found.values(), done.text
    return {name for name, word in found.items() if word != "PASSED"}


def await_flows(home: Home) -> None:
    """Wait until all three work, without a hand."""
    deadline = time.monotonic() + RETURN
    while lost := broken(done := look(home)):
        assert time.monotonic() < deadline, f"not back after {RETURN} s: {lost}\n{done.text}"


@contextmanager
def stopped(home: Home, guest: str, unit: str) -> Iterator[None]:
    """A service that is stopped for a while."""
    home.said(guest, f"systemctl stop {unit}")
    try:
        yield
    finally:
        home.said(guest, f"systemctl start {unit}")


def device(home: Home, *words: str) -> Done:
    """`python -m twin device ...`."""
    return home.run("python", "-m", "twin", "device", *words).went_well()


def test_the_flows_work_and_none_is_skipped(home: Home) -> None:
    assert flows(home) == set()


@pytest.mark.long
@pytest.mark.parametrize("what", STOPPED)
def test_a_flow_fails_when_a_service_of_its_path_is_stopped(home: Home, what: str) -> None:
    guest, unit, needing = STOPPED[what]
    with stopped(home, guest, unit):
        assert flows(home) == needing
    await_flows(home)


@pytest.mark.long
def test_without_the_adapter_all_flows_fail_and_come_back_unaided(home: Home) -> None:
    device(home, "unplug")
    try:
        assert flows(home) == ALL
    finally:
        device(home, "plug")
    await_flows(home)


@pytest.mark.long
def test_without_the_database_all_flows_go_on_and_history_returns(home: Home) -> None:
    home.task("POST", "database", "/status/stop")
    try:
        assert flows(home) == set()
    finally:
        home.task("POST", "database", "/status/start")
    until(lambda: home.verify("-k", "home_assistant or postgresql").code == 0 or None, RETURN)


@pytest.mark.long
def test_without_the_second_broker_all_flows_go_on(home: Home) -> None:
    with stopped(home, "mqtt-standby", "mosquitto.service"):
        assert flows(home) == set()


@pytest.mark.long
def test_after_a_power_cut_the_guests_boot_in_any_order_and_the_flows_return(home: Home) -> None:
    """The worst order: whoever needs others first, whoever is needed last."""
    guests = ["home-assistant", "comms", "mqtt-standby", "data", "database"]
    for guest in guests:
        home.task("POST", guest, "/status/stop")
    for guest in guests:
        home.task("POST", guest, "/status/start")
    await_flows(home)

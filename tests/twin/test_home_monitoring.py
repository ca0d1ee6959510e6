"""Each alert on its cause in a real home: it reaches a phone by ntfy, and is over when the cause is gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import WHOLE, Home
from tests.twin.trouble_kit import ALERTS, PATIENCE, Phone, Troubles

pytestmark = pytest.mark.long
JOURNALS = "/var/log/journal/remote"


@pytest.fixture(scope="module")
def home(home: Home) -> Iterator[Home]:
    """The whole home: somebody watches it, and somebody tells when that one is dead."""
    home.deploy(patience=WHOLE).went_well()
    home.deploy(patience=WHOLE).silent()
    yield home
    home.deploy(patience=WHOLE).went_well()


@pytest.fixture
def phone(home: Home) -> Phone:
    """A phone that is told from now on."""
    return Phone(home)


@pytest.fixture(scope="module")
def troubles(home: Home) -> Troubles:
    """Everything that an alert is about went wrong at once, and was mended."""
    return Troubles(home)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_on_its_cause_and_reaches_a_phone(troubles: Troubles, alert: str) -> None:
    assert alert in troubles.told, troubles.titles


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_over_when_its_cause_is(troubles: Troubles, alert: str) -> None:
    assert alert in troubles.over, troubles.phone.titles()


def test_a_guest_that_is_down_is_one_message(troubles: Troubles) -> None:
    told = [title for title in troubles.titles if "security" in title]
    assert "GuestDown: security" in told
    hidden = ("GuestSilent", "PortClosed", "DoorClosed", "MetricsMissing", "ServiceStopped")
    assert not [title for title in told if title.startswith(hidden)]


def test_a_bridge_that_is_down_is_told_and_its_return_too(home: Home, phone: Phone) -> None:
    home.said("comms", "systemctl stop zigbee2mqtt.service")
    try:
        until(lambda: phone.told("ZigbeeDown"), PATIENCE)
    finally:
        home.said("comms", "systemctl start zigbee2mqtt.service")
    until(lambda: phone.told("over:", "ZigbeeDown"), PATIENCE)


@pytest.mark.parametrize(
    "unit", ["prometheus.service", "prometheus-alertmanager.service", "alert-relay.service"]
)
def test_dead_monitoring_is_told_by_another_guest_and_so_is_its_return(
    home: Home, phone: Phone, unit: str
) -> None:
    home.said("monitoring", f"systemctl stop {unit}")
    try:
        until(lambda: phone.told("Monitoring is dead"), PATIENCE)
    finally:
        home.said("monitoring", f"systemctl start {unit}")
    until(lambda: phone.told("monitoring is back"), PATIENCE)


def central(home: Home, word: str) -> int:
    """How often a word is in the central journal."""
    said = home.said("monitoring", f"journalctl -D {JOURNALS} -q -o cat --since=-30min | grep -c {word} || :")
    return int(said)


def test_a_restarted_log_server_loses_nothing(home: Home) -> None:
    word = f"hearth-{uuid.uuid4()}"
    home.said("monitoring", "systemctl stop journal-central.service journal-gate.service")
    try:
        home.said("comms", f"for i in $(seq 500); do echo {word}-$i; done | systemd-cat -t hearth-verify")
    finally:
        home.said("monitoring", "systemctl start journal-central.service journal-gate.service")
    until(lambda: central(home, word) >= 500, 120)


def test_debug_level_ends_by_itself(home: Home) -> None:
    zone = "Etc/UTC"
    until_when = home.said("comms", f"TZ={zone} date -d '+3 minutes' '+%Y-%m-%d %H:%M:%S'").strip()
    data: Any = json.dumps({"mosquitto": f"{until_when}+00:00"})
    settings = "/etc/mosquitto/hearth.d/settings.conf"
    before = home.said("comms", f"sha256sum {settings}")
    home.deploy("--limit", "comms", "--data", f"log_debug={data}").went_well()
    assert "log_type debug" in home.said("comms", f"cat {settings}")
    until(lambda: home.said("comms", f"sha256sum {settings}") == before, 300)
    until(lambda: home.ends("comms", "ls /etc/systemd/system | grep -q hearth-calm") != 0, 30)
    home.deploy("--limit", "comms").silent()

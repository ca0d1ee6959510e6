"""Each alert on its cause in a real home: it reaches a phone by ntfy, and is over when the cause is gone."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.twin.handle import until
from tests.twin.home_kit import WHOLE, Home

pytestmark = pytest.mark.long
PATIENCE = 900.0  # seconds: the longest that a cause has to last, and what grouping adds
TEXTFILES = "/var/lib/prometheus/node-exporter"
JOURNALS = "/var/log/journal/remote"


def wait(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds."""
    until(lambda: True if holds() else None, patience)


@pytest.fixture(scope="module")
def home(home: Home) -> Iterator[Home]:
    """The whole home: somebody watches it, and somebody tells when that one is dead."""
    home.deploy(patience=WHOLE).went_well()
    home.deploy(patience=WHOLE).silent()
    yield home
    home.deploy(patience=WHOLE).went_well()


class Phone:
    """A reader of ntfy, in the twin's network, from now on."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.since = int(time.time())
        self.trusted = ssl.create_default_context(cadata=home.secret("ca/cert"))
        self.login = "admin", home.secret("ntfy/admin")

    def titles(self) -> list[str]:
        """What it was told."""
        url = f"https://{self.home.address('mqtt-standby')}:2586/alerts/json?poll=1&since={self.since}"

        def ask() -> str:
            answer = httpx.get(url, auth=self.login, verify=self.trusted, timeout=15, trust_env=False)
            return answer.raise_for_status().text

        return [json.loads(line)["title"] for line in self.home.twin.call(ask).splitlines()]

    def told(self, *words: str) -> bool:
        """Whether a message has all these words in its title."""
        return any(all(word in title for word in words) for title in self.titles())


@pytest.fixture
def phone(home: Home) -> Iterator[Phone]:
    """A phone; afterwards whatever the test broke is as a deploy wants it."""
    yield Phone(home)


@dataclass(frozen=True)
class Cause:
    """Something that goes wrong on a guest, and how it is mended."""

    alert: str
    guest: str
    breaks: str
    mends: str


OLD = (
    'printf \'hearth_backup_last_success_timestamp_seconds{guest="data",role="verify"} %s\\n\' '
    f"$(date -d '-30 hours' +%s) >{TEXTFILES}/verify.prom"
)
CAUSES = (
    Cause(
        "ServiceStopped",
        "security",
        "systemctl stop vaultwarden.service",
        "systemctl start vaultwarden.service",
    ),
    Cause("BackupOld", "data", OLD, f"rm {TEXTFILES}/verify.prom"),
    Cause(
        "ReplicaGone",
        "data",
        "systemctl stop postgresql@15-main.service",
        "systemctl start postgresql@15-main.service",
    ),
    Cause("ZigbeeDown", "comms", "systemctl stop zigbee2mqtt.service", "systemctl start zigbee2mqtt.service"),
    Cause(
        "UnitFailed",
        "tailnet",
        "systemd-run --unit=hearth-verify-fails false; sleep 1",
        "systemctl reset-failed hearth-verify-fails.service",
    ),
)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.alert)
def test_an_alert_fires_on_its_cause_reaches_a_phone_and_clears(
    home: Home, phone: Phone, cause: Cause
) -> None:
    home.said(cause.guest, cause.breaks)
    try:
        wait(lambda: phone.told(cause.alert))
    finally:
        home.said(cause.guest, cause.mends)
    wait(lambda: phone.told("over:", cause.alert))


def test_a_guest_that_is_down_is_one_message(home: Home, phone: Phone) -> None:
    home.task("POST", "security", "/status/stop")
    try:
        wait(lambda: phone.told("GuestDown", "security"))
        time.sleep(60)
        assert not phone.told("PortClosed", "security")
    finally:
        home.task("POST", "security", "/status/start")
    wait(lambda: phone.told("over:", "GuestDown"))


@pytest.mark.parametrize(
    ("alert", "value"),
    [("DiskFull", "monitoring_disk_free=99"), ("CertificateEnds", "monitoring_certificate_days=400")],
)
def test_a_limit_that_is_passed_is_told(home: Home, phone: Phone, alert: str, value: str) -> None:
    """The limit moves: a disk of the twin may be the machine's own, and no certificate is old."""
    try:
        home.deploy("--limit", "monitoring", "--data", value).went_well()
        wait(lambda: phone.told(alert))
    finally:
        home.deploy("--limit", "monitoring").went_well()
    wait(lambda: phone.told("over:", alert))


@pytest.mark.parametrize(
    "unit", ["prometheus.service", "prometheus-alertmanager.service", "alert-relay.service"]
)
def test_dead_monitoring_is_told_by_another_guest_and_so_is_its_return(
    home: Home, phone: Phone, unit: str
) -> None:
    home.said("monitoring", f"systemctl stop {unit}")
    try:
        wait(lambda: phone.told("Monitoring is dead"))
    finally:
        home.said("monitoring", f"systemctl start {unit}")
    wait(lambda: phone.told("monitoring is back"))


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
    wait(lambda: central(home, word) >= 500, 120)


def test_debug_level_ends_by_itself(home: Home) -> None:
    zone = "Etc/UTC"
    until_when = home.said("comms", f"TZ={zone} date -d '+3 minutes' '+%Y-%m-%d %H:%M:%S'").strip()
    data: Any = json.dumps({"mosquitto": f"{until_when}+00:00"})
    settings = "/etc/mosquitto/hearth.d/settings.conf"
    before = home.said("comms", f"sha256sum {settings}")
    home.deploy("--limit", "comms", "--data", f"log_debug={data}").went_well()
    assert "log_type debug" in home.said("comms", f"cat {settings}")
    wait(lambda: home.said("comms", f"sha256sum {settings}") == before, 300)
    wait(lambda: home.ends("comms", "ls /etc/systemd/system | grep -q hearth-calm") != 0, 30)
    home.deploy("--limit", "comms").silent()

"""What can go wrong in a home, done to the twin's all at once, and what a phone is told of it meanwhile."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import httpx

from tests.twin.home_kit import Home
from tests.twin.test_home_zigbee2mqtt import Zigbee

PATIENCE = 1200.0  # seconds: the longest that a cause has to last, and what grouping adds
TEXTFILES = "/var/lib/prometheus/node-exporter"


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

    def told_of(self, alerts: set[str]) -> set[str]:
        """Those alerts that it was told of; an alert's word may have `over: ` before it."""
        titles = self.titles()
        return {alert for alert in alerts if any(title.startswith(alert) for title in titles)}


# ------------------------------------------------------------------------- causes


def by_hand(guest: str, breaks: str, mends: str) -> Callable[[Home], AbstractContextManager[None]]:
    """Something that commands on a guest break, and mend."""

    @contextmanager
    def cause(home: Home) -> Iterator[None]:
        home.said(guest, breaks)
        try:
            yield
        finally:
            home.said(guest, mends)

    return cause


@contextmanager
def down(home: Home) -> Iterator[None]:
    """A guest without power."""
    home.task("POST", "security", "/status/stop")
    try:
        yield
    finally:
        home.task("POST", "security", "/status/start")


@contextmanager
def behind(home: Home) -> Iterator[None]:
    """A replica that does not follow, while the first database is written to: 64 MiB and more."""
    writes = "select pg_switch_wal() from pg_logical_emit_message(true, 'hearth', repeat('x', 1000))"
    home.said("data", "systemctl stop postgresql@15-main.service")
    try:
        for _ in range(6):
            home.said("database", f'cd /; runuser -u postgres -- psql -qtc "{writes}"')
        yield
    finally:
        home.said("data", "systemctl start postgresql@15-main.service")


@contextmanager
def limits(home: Home) -> Iterator[None]:
    """Limits that are passed: a disk of the twin may be the machine's own, and no certificate is old."""
    values = "monitoring_disk_free=99", "monitoring_certificate_days=400"
    data = [word for value in values for word in ("--data", value)]
    home.deploy("--limit", "monitoring", *data).went_well()
    try:
        yield
    finally:
        home.deploy("--limit", "monitoring").went_well()


@contextmanager
def silent(home: Home) -> Iterator[None]:
    """A Zigbee device that answers nobody; it is looked for after a minute instead of ten."""
    zigbee = Zigbee(home)
    with zigbee.client() as client:
        zigbee.joined(client, "light")
    zigbee.deploy("--data", "zigbee2mqtt_offline_after=1").went_well()
    zigbee.devices.act("light", "silence")
    try:
        yield
    finally:
        zigbee.devices.act("light", "wake")
        zigbee.devices.switch(on=True)  # it is heard again at once
        zigbee.deploy().went_well()


OLD = (
    'printf \'hearth_backup_state_timestamp_seconds{guest="data",role="verify"} %s\\n\' '
    f"$(date -d '-30 hours' +%s) >{TEXTFILES}/verify.prom"
)
MOSQUITTO = "mosquitto.service"
CAUSES: dict[str, Callable[[Home], AbstractContextManager[None]]] = {
    "DiskFull CertificateEnds": limits,
    "ZigbeeDeviceSilent": silent,
    "ReplicaGone ReplicaBehind": behind,
    "ServiceStopped": by_hand("mqtt-standby", f"systemctl stop {MOSQUITTO}", f"systemctl start {MOSQUITTO}"),
    "BackupOld": by_hand("data", OLD, f"rm {TEXTFILES}/verify.prom"),
    "UnitFailed": by_hand(
        "tailnet",
        "systemd-run --unit=hearth-verify-fails false; sleep 1",
        "systemctl reset-failed hearth-verify-fails.service",
    ),
    "GuestDown": down,
}
ALERTS = sorted(alert for alerts in CAUSES for alert in alerts.split())


class Troubles:
    """All causes at once, until the phone was told of each alert, and then that each is over.

    Args:
        home: whose.
    """

    def __init__(self, home: Home) -> None:
        self.phone = Phone(home)
        wanted = set(ALERTS)
        with ExitStack() as stack:
            for cause in CAUSES.values():
                stack.enter_context(cause(home))
            self.told = self._collect(wanted)
            self.titles = self.phone.titles()
        over = self._collect({f"over: {alert}" for alert in wanted})
        self.over = {alert.removeprefix("over: ") for alert in over}

    def _collect(self, wanted: set[str]) -> set[str]:
        """What came of it in time."""
        end = time.monotonic() + PATIENCE
        while (found := self.phone.told_of(wanted)) != wanted and time.monotonic() < end:
            time.sleep(5)
        return found

"""The MQTT exporter: what it makes of what it hears, and the real one between real brokers."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_kit import Broker, a_broker
from monitor_kit import a_home, environment, listens, running, until
from role_kit import PROJECT, FakeRun, fleet, guest

from hearth.role.acl import mqtt_users
from hearth.secrets import mqtt_user
from roles.monitoring import exporters
from tests.ports import free_port

sys.path.insert(0, str(PROJECT / "apps"))
from mqtt_metrics.state import LATE, State
from mqtt_metrics.state import Broker as Known

pytestmark = pytest.mark.slow

AVAILABLE, GONE = b'{"state":"online"}', b'{"state":"offline"}'


def a_state() -> State:
    return State({"one": Known("one", first=True), "two": Known("two", first=False)})


def told(state: State, now: float = 1000.0) -> dict[str, float]:
    """The samples of its text, as Prometheus' own linter accepts it."""
    text = state.text(now)
    linted = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


# ------------------------------------------------------------------------ what it makes of it


def test_brokers_are_up_or_not() -> None:
    state = a_state()
    state.brokers["one"].up = True
    found = told(state)
    assert (found['hearth_mqtt_up{guest="one"}'], found['hearth_mqtt_up{guest="two"}']) == (1, 0)


def test_the_brokers_own_counts() -> None:
    state = a_state()
    for topic, payload in {
        "$SYS/broker/clients/connected": b"7",
        "$SYS/broker/uptime": b"3600 seconds",
        "$SYS/broker/publish/messages/dropped": b"3",
        "$SYS/broker/version": b"mosquitto version 2.0.11",
        "$SYS/broker/clients/maximum": b"9",
        "$SYS/broker/retained messages/count": b"many",
    }.items():
        state.hear("two", topic, payload, 0)
    found = {name: value for name, value in told(state).items() if "_up{" not in name}
    assert found == {
        'hearth_mqtt_clients{guest="two"}': 7,
        'hearth_mqtt_uptime_seconds{guest="two"}': 3600,
        'hearth_mqtt_dropped_total{guest="two"}': 3,
    }


def test_devices_are_available_or_silent_and_leave_when_they_are_removed() -> None:
    state = a_state()
    topic = "zigbee2mqtt/{}/availability"
    state.hear("one", topic.format("lamp"), AVAILABLE, 0)
    state.hear("one", topic.format("cellar/door"), GONE, 0)
    state.hear("one", topic.format('odd"name'), b"offline", 0)
    found = told(state)
    assert found['hearth_zigbee_device_available{device="lamp"}'] == 1
    assert found['hearth_zigbee_device_available{device="cellar/door"}'] == 0
    assert found['hearth_zigbee_device_available{device="odd\\"name"}'] == 0
    state.hear("one", topic.format("lamp"), b"", 0)
    known = json.dumps([{"friendly_name": "Coordinator"}, {"friendly_name": "cellar/door"}]).encode()
    state.hear("one", "zigbee2mqtt/bridge/devices", known, 0)
    devices = [name for name in told(state) if name.startswith("hearth_zigbee_device")]
    assert devices == ['hearth_zigbee_device_available{device="cellar/door"}']


def test_the_other_brokers_copy_of_zigbee_counts_nothing() -> None:
    state = a_state()
    state.hear("two", "zigbee2mqtt/lamp/availability", GONE, 0)
    assert not [name for name in told(state) if "zigbee" in name]


@pytest.mark.parametrize(
    ("payload", "up"), [(AVAILABLE, 1), (GONE, 0), (b"online", 1), (b"", 0), (b"[1]", 0)]
)
def test_zigbee2mqtt_itself(payload: bytes, up: int) -> None:
    state = a_state()
    assert "hearth_zigbee_bridge_up" not in told(state)
    state.hear("one", "zigbee2mqtt/bridge/state", payload, 0)
    assert told(state)["hearth_zigbee_bridge_up"] == up


def test_the_way_between_the_brokers_is_broken_when_no_beat_comes_through() -> None:
    state = a_state()
    name = 'hearth_mqtt_bridge_up{guest="two"}'
    assert told(state, 0)[name] == 1, "nothing was sent yet"
    state.sent = 10.0
    assert told(state, 10 + LATE)[name] == 1
    assert told(state, 11 + LATE)[name] == 0
    state.hear("two", "hearth/monitoring/beat", b"200.0", 200.5)
    found = told(state, 201)
    assert (found[name], found['hearth_mqtt_bridge_seconds{guest="two"}']) == (1, 0.5)
    assert told(state, 201 + LATE)[name] == 0


@pytest.mark.parametrize("payload", [b"", b"x", b"nan", b"inf", b"\xff", b"99999999"])
def test_a_beat_that_is_none_is_passed_over(payload: bytes) -> None:
    state = a_state()
    state.hear("two", "hearth/monitoring/beat", payload, 10)
    assert state.brokers["two"].beat is None


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"x": 1}', b"[3]", b"\xff\xfe"])
def test_nonsense_ends_nothing(payload: bytes) -> None:
    state = a_state()
    for topic in ("bridge/devices", "bridge/state", "x/availability", "x"):
        state.hear("one", f"zigbee2mqtt/{topic}", payload, 0)
    told(state)


# --------------------------------------------------------------------------------- the real one


def test_its_login_may_read_what_it_takes_and_nothing_else() -> None:
    run = a_home()
    (user,) = [each for each in mqtt_users(run.fleet, run.roles, {}) if each.name == "monitoring-monitoring"]
    rules = {(rule.filter, rule.access) for rule in user.rules}
    assert rules == {("$SYS/#", "read"), ("zigbee2mqtt/#", "read"), ("hearth/monitoring/#", "readwrite")}


class Exporting:
    """The exporter at two brokers; nothing bridges them."""

    def __init__(self, port: int, first: Broker, second: Broker) -> None:
        self.port, self.first, self.second = port, first, second

    def samples(self) -> dict[str, float]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        }


def a_run() -> FakeRun:
    return FakeRun(
        fleet(
            guest("localhost", 135, "mosquitto", address="127.0.0.1"),
            guest("second", 138, "mosquitto", address="127.0.0.2"),
            guest("monitoring", 137, "metrics", "monitoring"),
        )
    )


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporting]:
    root, run = tmp_path_factory.mktemp("mqtt"), a_run()
    with (
        a_broker(run, mosquitto_devices={"stick": {"publish": ["zigbee2mqtt/#"]}}) as first,
        a_broker(run) as second,
    ):
        found = json.loads(exporters.mqtt_settings(run.here("monitoring", "monitoring")))
        ca = root / "ca.crt"
        ca.write_text(run.authority.ca_pem)
        port = free_port()
        found |= {"listen": ["127.0.0.1", port], "ca": str(ca)}
        for broker, real in zip(found["brokers"], (first, second), strict=True):
            broker |= {"host": "localhost", "port": real.tls_port}
        settings = root / "settings.json"
        settings.write_text(json.dumps(found))
        command = [sys.executable, "-B", "-m", "mqtt_metrics", settings]
        with running(*command, log=root / "log", cwd=PROJECT / "apps", env=environment()):
            until(lambda: listens(port), why=(root / "log").read_text)
            yield Exporting(port, first, second)


@pytest.mark.slow
class TestTheRealOne:
    """The program, with what the role writes for it."""

    def test_it_logs_in_at_all_brokers_and_counts(self, exporting: Exporting) -> None:
        found = until(lambda: (s := exporting.samples()).get('hearth_mqtt_up{guest="second"}') == 1 and s)
        assert found['hearth_mqtt_up{guest="localhost"}'] == 1
        until(lambda: 'hearth_mqtt_clients{guest="localhost"}' in exporting.samples())

    def test_it_hears_of_devices(self, exporting: Exporting) -> None:
        with exporting.first.login("stick") as stick:
            stick.publish("zigbee2mqtt/bridge/state", AVAILABLE.decode(), 1, retain=True)
            stick.publish("zigbee2mqtt/lamp/availability", GONE.decode(), 1, retain=True)
        until(lambda: exporting.samples().get('hearth_zigbee_device_available{device="lamp"}') == 0)
        assert exporting.samples()["hearth_zigbee_bridge_up"] == 1

    def test_a_broker_that_is_gone_is_down_and_comes_back(self, exporting: Exporting) -> None:
        exporting.second.stop()
        until(lambda: exporting.samples()['hearth_mqtt_up{guest="second"}'] == 0)
        assert exporting.samples()['hearth_mqtt_up{guest="localhost"}'] == 1
        exporting.second.start()
        until(lambda: exporting.samples()['hearth_mqtt_up{guest="second"}'] == 1)

    def test_it_says_nothing_else(self, exporting: Exporting) -> None:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://127.0.0.1:{exporting.port}/settings", timeout=5
            )


@pytest.mark.slow
def test_a_wrong_password_is_no_login(tmp_path: Path) -> None:
    run = a_run()
    with a_broker(run) as broker:
        ca, port = tmp_path / "ca.crt", free_port()
        ca.write_text(run.authority.ca_pem)
        user = mqtt_user(run.secrets, "monitoring-monitoring").name
        at = {"guest": "localhost", "host": "localhost", "port": broker.tls_port}
        settings: dict[str, Any] = {"listen": ["127.0.0.1", port], "ca": str(ca), "brokers": [at]}
        (tmp_path / "s.json").write_text(json.dumps({**settings, "user": user, "password": "wrong"}))
        command = [sys.executable, "-B", "-m", "mqtt_metrics", tmp_path / "s.json"]
        with running(*command, log=tmp_path / "log", cwd=PROJECT / "apps", env=environment()):
            until(lambda: listens(port))
            until(lambda: "not authorised" in broker.log)
            assert Exporting(port, broker, broker).samples()['hearth_mqtt_up{guest="localhost"}'] == 0


@pytest.mark.parametrize("text", ["", "{}", '{"brokers": []}', '{"brokers": [{}], "listen": [1, 2]}'])
def test_settings_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    command = [sys.executable, "-B", "-m", "mqtt_metrics", "--check", tmp_path / "s.json"]
    done = subprocess.run(command, cwd=PROJECT / "apps", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "s.json" in done.stderr

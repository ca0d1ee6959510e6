"""Zigbee2MQTT on a real guest: what it keeps stays, nothing broken goes live, and it comes back by itself."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import Done, Home
from tests.verify.mqtt_client import Mqtt
from twin.devices.control import Devices

UNIT = "zigbee2mqtt.service"
DATA = "/var/lib/zigbee2mqtt"
BACK = 90  # seconds until all is well again: the restart of a busy machine's Node among them
NETWORK = ("zigbee2mqtt/network-key", "zigbee2mqtt/pan-id", "zigbee2mqtt/ext-pan-id")


class Zigbee:
    """Zigbee2MQTT and its devices, in a home of the twin."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.devices = Devices.of(home.twin.twin)
        self.guest = home.fleet.with_role("zigbee2mqtt")[0].name
        self.broker = home.fleet.with_role("mosquitto")[0].name

    def deploy(self, *options: str) -> Done:
        """A deploy of its guest."""
        return self.home.deploy("--limit", self.guest, *options)

    def said(self, command: str) -> str:
        """What a command on its guest says."""
        return self.home.said(self.guest, command)

    def logs(self, words: str) -> None:
        """Wait until it says these words."""
        until(lambda: words in self.said(f"journalctl -n 40 -o cat -u {UNIT}"), BACK)

    @property
    def process(self) -> str:
        """Its process."""
        return self.said(f"systemctl show -p MainPID --value {UNIT}")

    @property
    def restarts(self) -> int:
        """How often systemd has started it again by itself."""
        return int(self.said(f"systemctl show -p NRestarts --value {UNIT}"))

    @contextmanager
    def client(self) -> Iterator[Mqtt]:
        """A client of the broker with Zigbee2MQTT's own rights, listening to all that it says."""
        user = f"zigbee2mqtt-{self.guest}"
        tls = ssl.create_default_context(cadata=self.home.secret("ca/cert"))
        login = (self.home.address(self.broker), 8883, user, self.home.secret(f"mqtt/{user}"), tls)
        with self.home.twin.call(lambda: Mqtt(*login)) as client:
            client.subscribe("zigbee2mqtt/#")
            yield client

    def asks(self, client: Mqtt, what: str, **request: Any) -> dict[str, Any]:
        """Send a request to the bridge and return its answer, which must be a success."""
        ticket = str(uuid.uuid4())
        content = json.dumps({**request, "transaction": ticket})
        client.publish(f"zigbee2mqtt/bridge/request/{what}", content, 1)
        topic = f"zigbee2mqtt/bridge/response/{what}"
        answer = heard(client, topic, lambda answer: answer.get("transaction") == ticket)
        assert answer["status"] == "ok", answer
        return answer

    def joined(self, client: Mqtt, name: str) -> str:
        """A device of this name is in the network; its address."""
        state: dict[str, Any] = self.devices.state()["devices"][name]
        if not state["joined"]:
            self.asks(client, "permit_join", time=120)
            self.devices.act(name, "join")
            self.devices.wait(f"{name} joins", lambda now: now["devices"][name]["joined"], 30)
        address = str(state["ieee"])
        heard(client, "zigbee2mqtt/bridge/devices", lambda devices: interviewed(devices, address))
        return address

    def hears_the_sensor(self, temperature: float) -> None:
        """A value goes the whole way from radio to broker, within the time there is for coming back."""

        def arrived() -> bool:
            try:
                with self.client() as client:
                    self.devices.measure(temperature=temperature)
                    heard(client, None, lambda told: told.get("temperature") == temperature, 5)
            except (OSError, AssertionError):
                return False
            return True

        until(arrived, BACK)


def heard(client: Mqtt, topic: str | None, fits: Any, timeout: float = 60) -> Any:
    """The first message of a topic (None: any) whose content fits."""
    while True:
        message = client.message(timeout)
        try:
            content = json.loads(message.payload)
        except ValueError:
            continue
        if topic in (None, message.topic) and (isinstance(content, dict) or topic) and fits(content):
            return content


def interviewed(devices: list[dict[str, Any]], address: str) -> bool:
    """Whether Zigbee2MQTT knows all of a device."""
    return any(device["ieee_address"] == address and not device["interviewing"] for device in devices)


@pytest.fixture(scope="module")
def zigbee(home: Home) -> Zigbee:
    """Zigbee2MQTT, with the sensor in its network."""
    found = Zigbee(home)
    with found.client() as client:
        found.joined(client, "sensor")
    return found


@pytest.fixture
def by_hand(zigbee: Zigbee) -> Iterator[str]:
    """What somebody does in the frontend: a device's description, a group, a setting; undone later."""
    mark = f"by hand {uuid.uuid4()}"
    device = zigbee.devices.sensor()["ieee"]

    def options(**values: Any) -> None:
        zigbee.asks(client, "device/options", id=device, options=values)

    with zigbee.client() as client:
        options(description=mark)
        zigbee.asks(client, "group/add", friendly_name=mark)
        zigbee.asks(client, "options", options={"advanced": {"last_seen": "ISO_8601"}})
        yield mark
        options(description=None)
        zigbee.asks(client, "group/remove", id=mark, force=True)
        zigbee.asks(client, "options", options={"advanced": {"last_seen": "disable"}})


def test_a_deploy_changes_only_what_it_must_and_nothing_that_zigbee2mqtt_keeps(
    zigbee: Zigbee, by_hand: str
) -> None:
    others = "systemctl show -p MainPID --value mosquitto haproxy"
    process, around = zigbee.process, zigbee.said(others)
    written = zigbee.said(f"cat {DATA}/configuration.yaml")
    assert written.count(by_hand) == 2, "Zigbee2MQTT has written a device's description and a group"
    assert "last_seen: ISO_8601" in written
    zigbee.deploy().silent()
    assert zigbee.process == process
    zigbee.deploy("--data", "zigbee2mqtt_offline_after=12").went_well()
    assert zigbee.process != process
    assert zigbee.said(others) == around, "nothing else was restarted"
    assert zigbee.said(f"cat {DATA}/configuration.yaml") == written.replace("timeout: 10\n", "timeout: 12\n")
    zigbee.deploy().went_well()
    assert zigbee.said(f"cat {DATA}/configuration.yaml") == written


def test_what_is_held_here_cannot_be_changed_in_the_frontend(zigbee: Zigbee) -> None:
    with zigbee.client() as client:
        zigbee.asks(client, "options", options={"advanced": {"enable_external_js": True}})
    assert "enable_external_js: false" in zigbee.said(f"cat {DATA}/configuration.yaml")


def test_a_broken_configuration_is_refused_in_its_own_words_and_the_old_one_goes_on(zigbee: Zigbee) -> None:
    look = f"sha256sum /etc/zigbee2mqtt/* {DATA}/configuration.yaml {DATA}/secret.yaml"
    before = zigbee.process, zigbee.said(look)
    done = zigbee.deploy("--data", "zigbee2mqtt_log_level=loud")
    done.refused(
        "Refusing to start because configuration is not valid",
        "advanced/log_level must be equal to one of the allowed values",
        "kept as it was",
    )
    assert (zigbee.process, zigbee.said(look)) == before
    zigbee.hears_the_sensor(20.75)


OTHER_KEY = f"sed -i 's/^network_key: .*/network_key: {list(range(16))}/' $stage{DATA}/secret.yaml"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("true", ""),
        (
            "sed -i 's/ADVANCED_LOG_OUTPUT=.*/ADVANCED_CHANNEL=27/' $env",
            "advanced/channel must be <= 26",
        ),
        (
            """sed -i 's/"keepalive"/"keepaliv"/' $stage/etc/zigbee2mqtt/managed.json""",
            "this release of Zigbee2MQTT has no setting mqtt.keepaliv",
        ),
        (OTHER_KEY, "is not the one in the secrets"),
        ("sed -i '/ADVANCED_PAN_ID=/s/=.*/=4711/' $env", "is not the one in the secrets"),
    ],
    ids=["nothing", "out of range", "unknown", "another key", "another PAN ID"],
)
def test_the_check_takes_what_is_good_and_nothing_else(zigbee: Zigbee, change: str, words: str) -> None:
    look = f"sha256sum {DATA}/configuration.yaml {DATA}/secret.yaml; ls -d /run/hearth-zigbee2mqtt.* || :"
    before = zigbee.said(look)
    files = f"/etc/zigbee2mqtt {DATA}/secret.yaml /usr/local/lib/hearth/zigbee2mqtt"
    said = zigbee.said(
        "stage=$(mktemp -d); env=$stage/etc/zigbee2mqtt/environment; "
        f"cp -a --parents {files} $stage; {change}; "
        "sh $stage/usr/local/lib/hearth/zigbee2mqtt/check.sh "
        f"$stage /opt/hearth/zigbee2mqtt/current {DATA} 2>&1; echo exit=$?; rm -rf $stage"
    )
    assert said.splitlines()[-1] == ("exit=1" if words else "exit=0"), said
    assert words in said
    assert zigbee.said(look) == before, "it works on copies, and takes them away"


def test_the_guests_own_network_is_taken_over_where_the_secrets_have_none(zigbee: Zigbee) -> None:
    store = zigbee.home.secrets
    true = {name: store.get(name).reveal() for name in NETWORK}
    process = zigbee.process
    for name in NETWORK:
        store.remove(name)
    store.save()
    try:
        done = zigbee.deploy().went_well()
        found = zigbee.home.secrets
        same = all(json.loads(found.get(name).reveal()) == json.loads(text) for name, text in true.items())
    finally:
        for name, text in true.items():
            store.put(name, text)
        store.save()
    assert "took the guest's Zigbee network over" in done.text
    assert same, "the network in the secrets is another one"
    assert zigbee.process == process, "it is the one it had: nothing to restart for"


def test_it_survives_the_loss_of_the_broker(zigbee: Zigbee) -> None:
    process = zigbee.process
    zigbee.home.said(zigbee.broker, "systemctl stop mosquitto")
    try:
        zigbee.logs("Not connected to MQTT server")
    finally:
        zigbee.home.said(zigbee.broker, "systemctl start mosquitto")
    zigbee.hears_the_sensor(21.25)
    assert zigbee.process == process, "it waited for the broker"


def test_it_survives_the_loss_of_the_adapter(zigbee: Zigbee) -> None:
    process, before = zigbee.process, zigbee.restarts
    zigbee.devices.plug(False)
    try:
        # It ends, and is started again.
        until(lambda: zigbee.restarts > before, BACK)
    finally:
        zigbee.devices.plug(True)
    zigbee.hears_the_sensor(21.5)
    assert zigbee.process != process


def test_it_comes_up_without_a_hand_where_the_broker_was_away_at_its_start(zigbee: Zigbee) -> None:
    zigbee.home.said(zigbee.broker, "systemctl stop mosquitto")
    try:
        zigbee.said(f"systemctl restart {UNIT}")
        zigbee.logs("MQTT failed to connect, exiting")
    finally:
        zigbee.home.said(zigbee.broker, "systemctl start mosquitto")
    zigbee.hears_the_sensor(21.75)


@pytest.mark.slow
def test_a_restarted_guest_brings_it_back(zigbee: Zigbee) -> None:
    zigbee.home.task("POST", zigbee.guest, "/status/shutdown", timeout=60)
    zigbee.home.task("POST", zigbee.guest, "/status/start")
    zigbee.hears_the_sensor(22.0)

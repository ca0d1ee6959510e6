"""The broker, by its protocol: what is allowed arrives, and everything else is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from mqtt_client import Mqtt, RefusedError
from sandbox import assert_confined
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest

TLS, PLAIN = 8883, 1883


@pytest.fixture
def client(under_test: UnderTest, guest: Guest) -> Iterator[Mqtt]:
    """Logged in over TLS as the user for checks."""
    with Mqtt(address_of(guest), TLS, *under_test.verifier, under_test.tls()) as connected:
        yield connected


@pytest.fixture
def topic() -> str:
    """A topic that no other run uses."""
    return f"hearth/verify/{uuid.uuid4()}"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_arrives(client: Mqtt, topic: str, qos: int) -> None:
    client.subscribe(topic)
    client.publish(topic, f"at {qos}", qos)
    found = client.message()
    assert (found.payload, found.qos) == (f"at {qos}".encode(), qos)


def test_a_retained_message_is_kept(under_test: UnderTest, guest: Guest, client: Mqtt, topic: str) -> None:
    try:
        client.publish(topic, "kept", 1, retain=True)
        with Mqtt(address_of(guest), TLS, *under_test.verifier, under_test.tls()) as later:
            later.subscribe(topic)
            found = later.message()
            assert (found.payload, found.retain) == (b"kept", True)
    finally:
        client.publish(topic, "", 1, retain=True)


def test_the_plain_port_takes_the_same_login(under_test: UnderTest, guest: Guest, topic: str) -> None:
    with Mqtt(address_of(guest), PLAIN, *under_test.verifier) as client:
        client.subscribe(topic)
        client.publish(topic, "plain", 1)
        assert client.message().payload == b"plain"


@pytest.mark.parametrize("number", [TLS, PLAIN], ids=["tls", "plain"])
@pytest.mark.parametrize("who", ["wrong", "anonymous", "unknown"])
def test_who_is_not_known_is_refused(under_test: UnderTest, guest: Guest, number: int, who: str) -> None:
    user, password = {
        "wrong": (under_test.verifier[0], "wrong"),
        "anonymous": (None, None),
        "unknown": ("nobody", under_test.verifier[1]),
    }[who]
    with pytest.raises(RefusedError):
        Mqtt(address_of(guest), number, user, password, under_test.tls() if number == TLS else None)


def test_a_forbidden_topic_is_refused(client: Mqtt, topic: str) -> None:
    client.subscribe("#")
    for forbidden in (f"forbidden/{topic}", "$SYS/broker/version", "zigbee2mqtt/bridge/request/restart"):
        with pytest.raises(RefusedError):
            client.publish(forbidden, "no", 1)
    client.publish(topic, "mine", 1)
    found = client.message()
    assert (found.topic, found.payload) == (topic, b"mine"), "no other topic is read, retained ones included"


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, "mosquitto.service", "mosquitto")


@pytest.mark.parametrize("path", ["passwords", "acl", "tls/server.key"])
def test_only_the_broker_reads_its_secrets(host: Any, path: str) -> None:
    file = host.file(f"/etc/mosquitto/{path}")
    assert (file.user, file.mode) == ("mosquitto", 0o600)


# ------------------------------------------------------------------------------- further brokers


def _others(under_test: UnderTest, guest: Guest) -> list[Guest]:
    found = [other for other in under_test.guests_for("test_mosquitto") if other.name != guest.name]
    return found or pytest.skip("it is the only broker")


def _logged_in(under_test: UnderTest, guest: Guest) -> Mqtt:
    return Mqtt(address_of(guest), TLS, *under_test.verifier, under_test.tls())


def test_a_message_reaches_the_other_brokers_once(under_test: UnderTest, guest: Guest) -> None:
    topic = f"hearth/verify/bridged/{uuid.uuid4()}"
    for other in _others(under_test, guest):
        with _logged_in(under_test, guest) as near, _logged_in(under_test, other) as far:
            near.subscribe(topic)
            far.subscribe(topic)
            near.publish(topic, "once", 1)
            near.publish(topic, "twice", 1)
            for client in (near, far):
                assert [client.message().payload for _ in range(2)] == [b"once", b"twice"]
                assert client.received.empty()


def test_a_retained_message_is_the_same_at_the_other_brokers(under_test: UnderTest, guest: Guest) -> None:
    topic = f"hearth/verify/bridged/{uuid.uuid4()}"
    for other in _others(under_test, guest):
        with _logged_in(under_test, guest) as near, _logged_in(under_test, other) as far:
            far.subscribe(topic)
            near.publish(topic, "kept", 1, retain=True)
            assert far.message().payload == b"kept"
            with _logged_in(under_test, other) as later:
                later.subscribe(topic)
                found = later.message()
                assert (found.payload, found.retain) == (b"kept", True)
            near.publish(topic, "", 1, retain=True)
            assert far.message().payload == b""


def test_a_bridge_runs_confined_on_every_broker_but_the_first(
    under_test: UnderTest, guest: Guest, host: Any
) -> None:
    bridge = host.service("mqtt-bridge")
    if guest == under_test.guests_for("test_mosquitto")[0]:
        assert not bridge.is_running
        return
    assert bridge.is_running
    assert_confined(host, "mqtt-bridge.service", "mqtt-bridge")
    file = host.file("/etc/mqtt-bridge/settings.json")
    assert (file.user, file.mode) == ("mqtt-bridge", 0o600)

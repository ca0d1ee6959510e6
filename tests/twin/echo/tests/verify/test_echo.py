"""What the role echo promises: a service over TLS, and a login at the broker with just its topics."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from health import handshake
from mqtt_client import Mqtt, RefusedError
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest


def test_it_turns_words_round(guest: Guest, under_test: UnderTest) -> None:
    (served,) = [one for one in under_test.ports if (one.guest, one.port.number) == (guest, 7007)]
    with handshake(under_test, served, guest.name) as connection:
        connection.sendall(b"hearth\n")
        assert connection.recv(64) == b"htraeh\n"


@pytest.fixture
def client(guest: Guest, under_test: UnderTest) -> Iterator[Mqtt]:
    """Logged in at the broker as the role's own user."""
    broker = under_test.fleet.with_role("mosquitto")[0]
    user = f"echo-{guest.name}"
    with Mqtt(address_of(broker), 8883, user, under_test.secret(f"mqtt/{user}"), under_test.tls()) as found:
        yield found


def test_its_user_talks_on_its_topics(client: Mqtt) -> None:
    topic = f"echo/{uuid.uuid4()}"
    client.subscribe(topic)
    client.publish(topic, "hello", 1)
    assert client.message().payload == b"hello"


@pytest.mark.parametrize("topic", ["other/x", "hearth/verify/x", "house/lamp/set", "$SYS/x", "echoes/x"])
def test_its_user_publishes_nowhere_else(client: Mqtt, topic: str) -> None:
    with pytest.raises(RefusedError):
        client.publish(topic, "no", 1)


def test_its_user_hears_only_what_it_may(guest: Guest, under_test: UnderTest, client: Mqtt) -> None:
    broker = under_test.fleet.with_role("mosquitto")[0]
    client.subscribe("#")
    client.subscribe("hearth/verify/#")
    last = f"echo/{uuid.uuid4()}"
    with Mqtt(address_of(broker), 8883, *under_test.verifier, under_test.tls()) as other:
        other.publish(f"hearth/verify/{uuid.uuid4()}", "not for echo", 1)
    client.publish(last, "the end", 1)
    assert client.message().topic == last

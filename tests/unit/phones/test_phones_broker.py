"""A real Mosquitto with what the role renders, and a phone with its bundle: its own topics only."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from broker_kit import Broker, Mqtt, RefusedError, a_broker, a_run
from phones_kit import Handset, a_parcel, ended, listed
from role_kit import FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.phones.bundle import Parcel
from hearth.role.acl import acl_text, mqtt_users


@contextmanager
def connected(broker: Broker, phone: Handset) -> Iterator[Mqtt]:
    """The phone, logged in; the kit's broker is on loopback."""
    own = phone.mqtt
    with Mqtt("localhost", broker.tls_port, own["username"], own["password"], phone.tls()) as client:
        yield client


@pytest.fixture
def anna(tmp_path: Path) -> Iterator[tuple[Broker, Parcel, Handset]]:
    """A broker that knows the phones anna and berta."""
    run = a_run()
    parcel = a_parcel(run)
    listed(run, parcel)
    listed(run, a_parcel(run, "berta"))
    with a_broker(run) as broker:
        yield broker, parcel, Handset.unpacked(parcel, tmp_path / "phone")


def test_a_phone_publishes_and_hears_below_its_own_topics(anna: tuple[Broker, Parcel, Handset]) -> None:
    broker, _, phone = anna
    with connected(broker, phone) as client:
        client.subscribe("phones/anna/#")
        client.publish("phones/anna/battery", "80", 1)
        assert client.message().payload == b"80"
        with broker.login("app-localhost") as other, pytest.raises(RefusedError):
            other.publish("phones/anna/battery", "0", 1)


@pytest.mark.parametrize(
    "topic", ["phones/berta/battery", "phones", "phones/anna2/x", "lamp/set", "zigbee2mqtt/x", "$SYS/x"]
)
def test_a_phone_publishes_nowhere_else(anna: tuple[Broker, Parcel, Handset], topic: str) -> None:
    broker, _, phone = anna
    with connected(broker, phone) as client, pytest.raises(RefusedError):
        client.publish(topic, "forbidden", 1)


@pytest.mark.parametrize("topic", ["#", "phones/#", "+/+/battery", "phones/berta/#", "phones/berta/battery"])
def test_a_phone_hears_nothing_of_others(anna: tuple[Broker, Parcel, Handset], topic: str) -> None:
    broker, _, phone = anna
    with connected(broker, phone) as client, broker.login("phone-berta") as berta:
        client.subscribe(topic)  # Mosquitto grants that, and looks when there is something to deliver
        client.subscribe("phones/anna/#")
        berta.publish("phones/berta/battery", "secret", 1)
        client.publish("phones/anna/battery", "mine", 1)
        assert client.message().payload == b"mine"


def test_a_phone_trusts_no_other_broker(anna: tuple[Broker, Parcel, Handset], tmp_path: Path) -> None:
    broker, _, phone = anna
    assert phone.trusts("127.0.0.1", broker.tls_port, "localhost")
    stranger = Handset.unpacked(a_parcel(a_run()), tmp_path / "stranger")
    assert not stranger.trusts("127.0.0.1", broker.tls_port, "localhost")
    with pytest.raises(ssl.SSLError), connected(broker, stranger):
        pass


def test_a_revoked_phone_is_disconnected_and_refused(anna: tuple[Broker, Parcel, Handset]) -> None:
    broker, parcel, phone = anna
    with connected(broker, phone) as client, broker.login("phone-berta") as berta:
        client.publish("phones/anna/battery", "80", 1)
        ended(broker.run, parcel)
        broker.write()
        broker.reload()
        assert client.gone.wait(10), "Mosquitto drops a client whose user is gone"
        with pytest.raises(RefusedError), connected(broker, phone):
            pass
        assert not berta.gone.is_set()
    assert "phone-anna" not in (broker.root / "etc/mosquitto/passwords").read_text()
    assert "phone-anna" not in (broker.root / "etc/mosquitto/acl").read_text()


def test_a_phone_added_again_comes_in_with_its_new_password_alone(
    anna: tuple[Broker, Parcel, Handset], tmp_path: Path
) -> None:
    broker, parcel, phone = anna
    ended(broker.run, parcel)
    again = a_parcel(broker.run)
    listed(broker.run, again)
    broker.write()
    broker.reload()
    renewed = Handset.unpacked(again, tmp_path / "again")

    def comes_in() -> bool:
        try:
            with connected(broker, renewed):
                return True
        except RefusedError:
            return False

    broker.until(comes_in)
    with pytest.raises(RefusedError), connected(broker, phone):
        pass


def test_a_phones_rights_are_its_own_topics_and_no_others() -> None:
    run = FakeRun(fleet(guest("comms", 135, "mosquitto")))
    text = acl_text(mqtt_users(run.fleet, run.roles, {}, ("anna", "berta")))
    assert "user phone-anna\ntopic readwrite phones/anna/#\n\n" in text
    with pytest.raises(HearthError, match="phone-anna"):
        mqtt_users(run.fleet, run.roles, {"phone-anna": {}}, ("anna",))

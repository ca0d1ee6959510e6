"""The phone, against a stand-in of Home Assistant over HTTPS; against the real one: the flow tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broker_kit import a_run, free_ports
from hass_stand_in import TOKEN, HassStandIn

from hearth.errors import HearthError
from hearth.pki import Authority
from hearth.secrets import SecretStore
from twin.devices.phone import Phone

WAIT = 40.0


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fleet's CA and the certificate of one of its guests."""
    folder = tmp_path_factory.mktemp("ca")
    run = a_run()
    leaf = run.here("localhost", "mosquitto").certificate()
    (folder / "server.pem").write_text(leaf.cert_pem + leaf.key_pem.reveal())
    (folder / "ca.pem").write_text(run.authority.ca_pem)
    return folder


@pytest.fixture
def hass(ca: Path) -> Iterator[HassStandIn]:
    """A stand-in."""
    server = HassStandIn(free_ports(1)[0], ca / "server.pem")
    yield server
    server.close()


@pytest.fixture
def phone(hass: HassStandIn, ca: Path) -> Iterator[Phone]:
    """A phone that knows the stand-in."""
    with Phone(f"https://127.0.0.1:{hass.port}", ca / "ca.pem", TOKEN, "anna") as held:
        yield held


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_notification_arrives_and_is_confirmed(phone: Phone, hass: HassStandIn) -> None:
    phone.register()
    assert hass.registrations[0]["app_data"] == {"push_websocket_channel": True}
    hass.push("the door is open", "c1")
    assert phone.wait_for_notification(WAIT)["message"] == "the door is open"
    until(lambda: hass.confirmed == ["c1"])
    with pytest.raises(HearthError, match="none that fits"):
        phone.wait_for_notification(0.1, lambda n: n["message"] == "another")


def test_the_channel_comes_back_after_a_restart(phone: Phone, hass: HassStandIn) -> None:
    phone.register()
    hass.drop()
    hass.channels.clear()
    until(lambda: hass.webhook_id in hass.channels)
    hass.push("still here", "c2")
    phone.wait_for_notification(WAIT, lambda n: n["message"] == "still here")


def test_a_new_registration_moves_the_channel(phone: Phone, hass: HassStandIn) -> None:
    first = phone.register()
    assert phone.register() != first
    hass.push("to the new one", "c3")
    phone.wait_for_notification(WAIT, lambda n: n["message"] == "to the new one")


def test_sensors_are_registered_and_updated_and_a_refusal_is_an_error(
    phone: Phone, hass: HassStandIn
) -> None:
    phone.register()
    phone.register_sensor("battery", "Battery", 80, unit_of_measurement="%")
    phone.update_sensor("battery", 79)
    phone.update_location(52.0, 13.0)
    assert [o["type"] for o in hass.opened] == ["register_sensor", "update_sensor_states", "update_location"]
    with pytest.raises(HearthError, match="steps"):
        phone.update_sensor("steps", 1)
    with pytest.raises(HearthError, match="register_sensor"):
        phone.register_sensor("broken", "Broken", None)


def test_sealed_payloads_show_nothing_on_the_way(hass: HassStandIn, ca: Path) -> None:
    url = f"https://127.0.0.1:{hass.port}"
    with Phone(url, ca / "ca.pem", TOKEN, "anna", encrypted=True) as phone:
        phone.register()
        phone.register_sensor("battery", "Battery", 80)
        phone.update_sensor("battery", 79)
    assert hass.opened[0]["data"]["state"] == 80
    assert all("data" not in body and "battery" not in str(body) for body in hass.raw)


def test_a_service_is_called_as_the_user(phone: Phone, hass: HassStandIn) -> None:
    phone.call_service("light.turn_on", entity_id="light.lamp", brightness=100)
    assert hass.services == [("light.turn_on", {"entity_id": "light.lamp", "brightness": 100})]


def test_a_wrong_token_is_an_error(hass: HassStandIn, ca: Path) -> None:
    with Phone(f"https://127.0.0.1:{hass.port}", ca / "ca.pem", "wrong", "anna") as phone:
        with pytest.raises(HearthError, match="401"):
            phone.register()
        with pytest.raises(HearthError, match="Invalid access token"):
            phone.socket()


def test_a_refused_command_is_an_error(phone: Phone) -> None:
    socket = phone.socket()
    with pytest.raises(HearthError, match="Unknown command"):
        socket.command("no/such")
    socket.close()


def test_another_ca_is_not_trusted(hass: HassStandIn, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    store = SecretStore(tmp_path / "s.age", tmp_path / "k", notify=lambda _: None)
    other.write_text(Authority(store).ca_pem)
    with Phone(f"https://127.0.0.1:{hass.port}", other, TOKEN, "anna") as phone:
        with pytest.raises(HearthError, match=r"(?i)certificate"):
            phone.call_service("light.turn_on")
        with pytest.raises(HearthError, match=r"(?i)certificate"):
            phone.socket()
    assert hass.services == []


def test_an_unregistered_phone_sends_nothing(phone: Phone, hass: HassStandIn) -> None:
    with pytest.raises(HearthError, match="not registered"):
        phone.update_sensor("battery", 1)
    assert hass.raw == []

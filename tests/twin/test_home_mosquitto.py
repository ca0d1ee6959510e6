"""The broker on a real guest: nothing broken goes live, and clients stay where they can."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.twin.annex_kit import Annex
from tests.twin.home_kit import Home
from tests.verify.mqtt_client import Mqtt, RefusedError


def process(home: Home) -> str:
    """The broker's process."""
    return home.said("annex", "systemctl show -p MainPID --value mosquitto.service")


def login(home: Home, user: str) -> Mqtt:
    """A client in the twin's network, over TLS."""
    trusted = ssl.create_default_context(cadata=home.secret("ca/cert"))
    password = home.secret(f"mqtt/{user}")
    return home.twin.call(lambda: Mqtt(home.address("annex"), 8883, user, password, trusted))


@pytest.fixture
def client(annex: Annex) -> Iterator[Mqtt]:
    """A connected client, listening."""
    with login(annex.home, "hearth-verify") as found:
        found.subscribe("hearth/verify/#")
        yield found


def still_there(client: Mqtt) -> bool:
    """Whether the client's connection is the one it had, and works."""
    client.publish("hearth/verify/still-there", "yes", 1)
    return client.message().payload == b"yes" and not client.gone.is_set()


def test_a_broken_configuration_is_refused_in_mosquittos_words_and_the_old_one_goes_on(
    annex: Annex, client: Mqtt
) -> None:
    home = annex.home
    before = process(home), home.said("annex", "sha256sum /etc/mosquitto/hearth.d/settings.conf")
    done = home.deploy("--limit", "annex", "--data", "mosquitto_client_expiry=14x")
    done.refused("Error: Invalid persistent_client_expiration", "refused: /etc/mosquitto/hearth.d/settings")
    assert (process(home), home.said("annex", "sha256sum /etc/mosquitto/hearth.d/settings.conf")) == before
    assert still_there(client)
    home.deploy("--limit", "annex").silent()


@pytest.fixture
def new_device(annex: Annex) -> Iterator[str]:
    """A device that gets its login in group_data, and loses it again."""
    file = annex.home.project / "group_data/mosquitto.py"
    text = file.read_text()
    device = '    "gate": {"publish": ["gate/#"], "subscribe": []},\n'
    file.write_text(f"{text}\nmosquitto_devices = {{**mosquitto_devices, \n{device}}}\n")
    yield "gate"
    file.write_text(text)


def test_a_new_login_and_its_rights_are_reloaded_without_dropping_a_client(
    annex: Annex, client: Mqtt, new_device: str
) -> None:
    home = annex.home
    before = process(home)
    home.deploy("--limit", "annex").went_well()
    assert process(home) == before
    assert still_there(client)
    with login(home, new_device) as device:
        device.publish("gate/open", "1", 1)
        with pytest.raises(RefusedError):
            device.publish("hearth/verify/no", "1", 1)
    home.deploy("--limit", "annex").silent()


def test_a_removed_login_is_refused_and_others_stay(annex: Annex, client: Mqtt) -> None:
    home = annex.home
    before = process(home)
    home.deploy("--limit", "annex").went_well()
    with pytest.raises(RefusedError):
        login(home, "gate")
    assert process(home) == before
    assert still_there(client)


def test_a_changed_listener_restarts_the_broker_once(annex: Annex, client: Mqtt) -> None:
    home = annex.home
    before = process(home)
    other = ("--limit", "annex", "--data", "mosquitto_max_connections=400")
    home.deploy(*other).went_well()
    assert process(home) != before
    assert client.gone.wait(10)
    now = process(home)
    home.deploy(*other).silent()
    assert process(home) == now
    home.deploy("--limit", "annex").went_well()


def test_a_rotated_password_is_the_one_that_holds(annex: Annex) -> None:
    home = annex.home
    trusted = ssl.create_default_context(cadata=home.secret("ca/cert"))
    with login(home, "echo-annex") as found:
        found.publish("echo/x", "1", 1)
    with pytest.raises(RefusedError):
        home.twin.call(lambda: Mqtt(home.address("annex"), 8883, "echo-annex", annex.old_password, trusted))

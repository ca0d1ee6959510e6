"""HAProxy and the two brokers on the whole home: what is killed is survived, what is broken is refused."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from uuid import uuid4

import pytest

from hearth.fleet.model import Guest
from hearth.role.catalogue import load_roles
from hearth.role.certificates import FRONT_DOOR
from hearth.role.fronted import Web, webs
from tests.twin.handle import until
from tests.twin.home_kit import Home
from tests.verify.mqtt_client import Mqtt, RefusedError

CONFIG = "/etc/haproxy/hearth/haproxy.cfg"
TLS = 8883


def trusting(home: Home) -> ssl.SSLContext:
    """TLS that trusts the fleet's authority and nobody else."""
    return ssl.create_default_context(cadata=home.secret("ca/cert"))


def login(home: Home, guest: Guest) -> Mqtt:
    """The user for checks, over TLS, at a guest's address."""
    password = home.secret("mqtt/hearth-verify")
    return home.twin.call(lambda: Mqtt(str(guest.address), TLS, "hearth-verify", password, trusting(home)))


def broker(home: Home, guest: Guest) -> Mqtt | None:
    """The same where it is possible now."""
    with contextlib.suppress(OSError, RefusedError):
        return login(home, guest)
    return None


def kept(home: Home, guest: Guest, topic: str) -> bytes:
    """What a broker retains; empty where nothing."""
    found = broker(home, guest)
    if found is None:
        return b""
    with found, contextlib.suppress(AssertionError):
        found.subscribe(topic)
        return found.message(1.0).payload
    return b""


def keep(home: Home, guest: Guest, topic: str, text: str) -> None:
    """Publish a retained message."""
    with login(home, guest) as client:
        client.publish(topic, text, 1, retain=True)


@pytest.fixture
def fronted(home: Home) -> tuple[Guest, Web]:
    """A guest with a web interface that is not the door, and that interface."""
    roles = load_roles(home.project / "roles")
    for guest in home.fleet.with_role("front"):
        if FRONT_DOOR not in guest.roles and (found := webs(guest, home.fleet, roles)):
            return guest, found[0]
    pytest.fail("no guest has a web interface")


def process(home: Home, guest: Guest) -> str:
    """HAProxy's main process."""
    return home.said(guest.name, "systemctl show -p MainPID --value haproxy.service")


def answers(home: Home, guest: Guest, web: Web) -> bool:
    """Whether the interface speaks TLS and HTTP."""

    def ask() -> bytes:
        with (
            socket.create_connection((str(guest.address), web.port.number), 5) as raw,
            trusting(home).wrap_socket(raw, server_hostname=guest.name) as channel,
        ):
            channel.sendall(f"GET {web.port.path} HTTP/1.0\r\nHost: {guest.name}\r\n\r\n".encode())
            return channel.recv(100)

    with contextlib.suppress(OSError):
        return home.twin.call(ask).startswith(b"HTTP/1.")
    return False


def test_a_broken_configuration_is_refused_in_haproxys_words_and_the_old_one_goes_on(
    home: Home, fronted: tuple[Guest, Web]
) -> None:
    guest, web = fronted
    before = process(home, guest), home.said(guest.name, f"sha256sum {CONFIG}")
    done = home.deploy("--limit", guest.name, "--data", "front_idle=soon")
    done.refused("unexpected character 's'", f"refused: {CONFIG}")
    assert (process(home, guest), home.said(guest.name, f"sha256sum {CONFIG}")) == before
    assert answers(home, guest, web)


def test_a_change_at_the_door_is_reloaded_without_dropping_who_came_through_it(home: Home) -> None:
    (door,) = home.fleet.with_role(FRONT_DOOR)
    before = process(home, door)
    with login(home, door) as client:
        client.subscribe("hearth/verify/door")
        home.deploy("--limit", door.name, "--data", "front_door_idle=12h").went_well()
        assert "timeout client 12h" in home.said(door.name, f"cat {CONFIG}")
        client.publish("hearth/verify/door", "still here", 1)
        assert client.message().payload == b"still here"
        assert not client.gone.is_set()
        home.deploy("--limit", door.name).went_well()
        assert not client.gone.is_set()
    assert process(home, door) == before, "reloaded, not restarted"


def test_haproxy_comes_back_when_it_is_killed(home: Home, fronted: tuple[Guest, Web]) -> None:
    guest, web = fronted
    before = process(home, guest)
    home.said(guest.name, "systemctl kill --kill-whom=all -s KILL haproxy.service")
    until(lambda: process(home, guest) not in ("0", before) or None)
    until(lambda: answers(home, guest, web) or None)
    home.said(guest.name, "systemctl reset-failed haproxy.service")  # the checks count its crashes


@pytest.fixture
def brokers(home: Home) -> Iterator[tuple[Guest, Guest, Guest]]:
    """The primary, a standby and the door; the primary runs again afterwards."""
    primary, standby, *_ = home.fleet.with_role("mosquitto")
    (door,) = home.fleet.with_role(FRONT_DOOR)
    yield primary, standby, door
    home.said(primary.name, "systemctl start mosquitto.service")
    until(lambda: broker(home, primary))


def test_mqtt_through_the_door_outlives_the_first_broker_and_nothing_old_comes_back(
    home: Home, brokers: tuple[Guest, Guest, Guest]
) -> None:
    primary, standby, door = brokers
    topic = f"hearth/verify/bridged/{uuid4()}"
    crashes = home.said(standby.name, "systemctl show -p NRestarts mqtt-bridge.service")
    keep(home, door, topic, "before")
    until(lambda: kept(home, standby, topic) == b"before" or None)
    home.said(primary.name, "systemctl kill -s KILL mosquitto.service; systemctl stop mosquitto.service")
    with until(lambda: broker(home, door)) as client:
        client.publish(topic, "meanwhile", 1, retain=True)
    assert kept(home, standby, topic) == b"meanwhile"
    home.said(primary.name, "systemctl start mosquitto.service")
    until(lambda: kept(home, primary, topic) == b"meanwhile" or None)
    until(lambda: kept(home, door, topic) == b"meanwhile" or None)
    assert home.said(standby.name, "systemctl show -p NRestarts mqtt-bridge.service") == crashes
    keep(home, primary, topic, "")
    until(lambda: kept(home, standby, topic) == b"" or None)

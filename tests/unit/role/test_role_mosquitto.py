"""The mosquitto role's files, in a real Mosquitto, asked by a real client."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_kit import Broker, Mqtt, RefusedError, a_broker, a_run, broker_files
from role_kit import FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.role.acl import VERIFIER

SILENCE = 0.5  # seconds: what is to come on loopback has come by then, see test_what_is_allowed_arrives


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with a_broker() as running:
        yield running


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_allowed_arrives(broker: Broker, qos: int) -> None:
    with broker.login("app-localhost") as client:
        client.subscribe("app/x")
        client.publish("app/x", f"qos {qos}", qos)
        found = client.message()
        assert (found.payload, found.qos) == (f"qos {qos}".encode(), qos)


def test_a_retained_message_waits_for_who_comes_later(broker: Broker) -> None:
    with broker.login("app-localhost") as client:
        client.publish("app/kept", "kept", 1, retain=True)
    with broker.login("app-localhost") as client:
        client.subscribe("app/kept")
        found = client.message()
        assert (found.payload, found.retain) == (b"kept", True)
        client.publish("app/kept", "", 1, retain=True)


def test_a_device_has_its_own_topics_and_directions(broker: Broker) -> None:
    with broker.login("lamp") as lamp, broker.login("app-localhost") as app:
        for client in (lamp, app):
            client.subscribe("#")
        for client, topic in ((app, "lamp/set"), (lamp, "lamp/set"), (lamp, "app/x"), (lamp, "$SYS/x")):
            with pytest.raises(RefusedError):
                client.publish(topic, "forbidden", 1)
        lamp.publish("lamp/state", "on", 1)  # allowed, but nobody may read it
        app.publish("app/x", "last", 1)
        assert app.message().payload == b"last"
        assert lamp.received.empty()
        with pytest.raises(AssertionError):
            lamp.message(SILENCE)


@pytest.mark.parametrize(
    ("user", "password"),
    [("app-localhost", "wrong"), ("app-localhost", ""), ("nobody", "x"), (None, None), ("", "")],
)
def test_who_is_not_known_is_refused_on_both_ports(
    broker: Broker, user: str | None, password: str | None
) -> None:
    with pytest.raises(RefusedError):
        Mqtt("localhost", broker.tls_port, user, password, broker.context())
    with pytest.raises(RefusedError):
        Mqtt("localhost", broker.plain_port, user, password)


def test_the_plain_port_takes_the_same_users(broker: Broker) -> None:
    with Mqtt("localhost", broker.plain_port, "lamp", broker.password("lamp")) as client:
        client.subscribe("lamp/set")


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1"])
def test_the_certificate_holds_for_name_and_address(broker: Broker, address: str) -> None:
    user = "app-localhost"
    with Mqtt(address, broker.tls_port, user, broker.password(user), broker.context()) as client:
        client.subscribe("app/x")


def test_another_authority_is_not_believed(broker: Broker) -> None:
    other = ssl.create_default_context(cadata=a_run().authority.ca_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        Mqtt("localhost", broker.tls_port, "lamp", broker.password("lamp"), other)


LAX = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
CipherString = DEFAULT:@SECLEVEL=0
MinProtocol = TLSv1
"""


def test_tls_below_1_2_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the broker's own settings: this one's OpenSSL would take it."""
    (tmp_path / "openssl.cnf").write_text(LAX)
    monkeypatch.setenv("OPENSSL_CONF", str(tmp_path / "openssl.cnf"))
    with a_broker() as broker:
        old = broker.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            Mqtt("localhost", broker.tls_port, "lamp", broker.password("lamp"), old)


def test_the_verifier_may_use_its_own_topics_only(broker: Broker) -> None:
    with broker.login(VERIFIER) as client:
        client.subscribe("#")
        with pytest.raises(RefusedError):
            client.publish("app/x", "forbidden", 1)
        client.publish("hearth/verify/x", "mine", 1)
        assert client.message().payload == b"mine"


def test_a_reload_brings_users_rights_and_log_level_and_drops_no_client() -> None:
    with a_broker(mosquitto_log_level="error") as broker, broker.login("app-localhost") as old:
        old.subscribe("app/x")
        assert "New client connected" not in broker.log
        devices = {"new": {"subscribe": ["app/#"]}}
        broker.write(mosquitto_log_level="debug", mosquitto_devices=devices)
        broker.reload()
        broker.until(lambda: _logs_in(broker, "new"))
        broker.until(lambda: "New client connected" in broker.log)
        with broker.login("new") as new:
            new.subscribe("app/#")
            old.publish("app/x", "still here", 1)
            assert old.message().payload == b"still here"
            assert new.message().payload == b"still here"
        assert not old.gone.is_set()


def test_a_reload_ends_a_user_that_was_removed() -> None:
    with a_broker() as broker, broker.login("lamp") as lamp:
        broker.write(mosquitto_devices={})
        broker.reload()
        assert lamp.gone.wait(10)
        broker.until(lambda: not _logs_in(broker, "lamp"))


def test_a_reload_brings_a_new_certificate_and_drops_no_client() -> None:
    with a_broker() as broker, broker.login("app-localhost") as old:
        before = broker.run.authority
        broker.run.secrets = a_run().secrets.__class__(broker.root / "none.age", broker.root / "none.key", {})
        for user in ("app-localhost", "lamp", VERIFIER):  # the same passwords, another authority
            broker.run.secrets.put(f"mqtt/{user}", _secret(before, f"mqtt/{user}"))
            broker.run.secrets.put(f"mqtt-salt/{user}", _secret(before, f"mqtt-salt/{user}"))
        broker.run.authority = type(before)(broker.run.secrets)
        broker.write()
        broker.reload()
        broker.until(lambda: _logs_in(broker, "lamp"))
        assert not old.gone.is_set()


def test_retained_messages_survive_a_restart() -> None:
    with a_broker() as broker:
        with broker.login("app-localhost") as client:
            client.publish("app/kept", "kept", 1, retain=True)
        broker.stop()
        broker.start()
        with broker.login("app-localhost") as client:
            client.subscribe("app/kept")
            assert client.message().payload == b"kept"


def test_too_large_a_message_is_refused() -> None:
    with a_broker(mosquitto_max_message=1000) as broker, broker.login("app-localhost") as client:
        client.subscribe("app/x")
        client.publish("app/x", "x" * 2000)
        assert client.gone.wait(10)


@pytest.mark.parametrize("level", ["", "info", "all", "Error"])
def test_a_log_level_that_there_is_not_is_refused(level: str) -> None:
    with pytest.raises(HearthError, match="mosquitto_log_level"):
        broker_files(a_run(), mosquitto_log_level=level)


@pytest.mark.parametrize("name", ["max_connections", "max_message", "max_queued", "autosave"])
@pytest.mark.parametrize("value", ["many", 0, -1, None, True, 1.5])
def test_a_limit_that_is_no_number_is_refused(name: str, value: object) -> None:
    """Mosquitto itself reads most words as 0: no limit."""
    with pytest.raises(HearthError, match=f"mosquitto_{name}"):
        broker_files(a_run(), **{f"mosquitto_{name}": value})


def test_what_only_the_broker_may_read() -> None:
    files = {file.path: file for file in broker_files(a_run())}
    for path in ("passwords", "acl", "tls/server.key"):
        file = files[f"/etc/mosquitto/{path}"]
        assert (file.user, file.group, file.mode, file.secret) == ("mosquitto", "mosquitto", "600", True)
        assert file.content not in repr(file)


def test_passwords_are_hashed_and_the_same_every_time() -> None:
    run = a_run()
    first, second = (
        next(file.content for file in broker_files(run) if file.path.endswith("passwords")) for _ in range(2)
    )
    assert first == second
    assert first.count("$7$") == len(first.splitlines()) == 3
    assert not any(run.secrets.get(f"mqtt/{user}").reveal() in first for user in ("lamp", VERIFIER))


def test_two_brokers_know_the_same_users() -> None:
    run = FakeRun(fleet(guest("comms", 135, "mosquitto"), guest("standby", 138, "mosquitto")))
    from roles.mosquitto import broker_files as files

    one, two = (
        {file.path: file.content for file in files(run.here(name, "mosquitto")).reloaded}
        for name in ("comms", "standby")
    )
    assert one["/etc/mosquitto/acl"] == two["/etc/mosquitto/acl"]
    assert one["/etc/mosquitto/passwords"] == two["/etc/mosquitto/passwords"]
    assert one["/etc/mosquitto/tls/server.key"] != two["/etc/mosquitto/tls/server.key"]


def _secret(authority: object, name: str) -> str:
    return str(authority._store.get(name).reveal())  # type: ignore[attr-defined]


def _logs_in(broker: Broker, user: str) -> bool:
    try:
        broker.login(user).close()
    except (RefusedError, OSError):
        return False
    return True

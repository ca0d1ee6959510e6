"""Zigbee2MQTT: it is connected, closed to whoever has no token, and in the network that the secrets hold."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest
import yaml
from frontend import Frontend, UnauthorizedError
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

WEB, PLAIN = 8080, 18080
DATA = "/var/lib/zigbee2mqtt"


def frontend(under_test: UnderTest, guest: Guest, token: str | None) -> Frontend:
    """The guest's frontend, over TLS."""
    return Frontend(address_of(guest), WEB, under_test.tls(), token)


def configuration(host: Any) -> dict[str, Any]:
    """What Zigbee2MQTT has written, with its secrets."""
    content: dict[str, Any] = yaml.safe_load(host.file(f"{DATA}/configuration.yaml").content)
    return content


def test_it_is_connected_to_adapter_and_broker(under_test: UnderTest, guest: Guest) -> None:
    with frontend(under_test, guest, under_test.secret("zigbee2mqtt/frontend-token")) as connected:
        assert connected.wait(lambda topics: topics.get("bridge/state")) == {"state": "online"}
        info = connected.wait(lambda topics: topics.get("bridge/info"))
    assert info["mqtt"]["version"] == 5
    assert info["mqtt"]["server"].startswith("mqtts://")
    assert info["config"]["availability"]["enabled"]
    assert info["config"]["homeassistant"]["enabled"]
    assert not {"network_key", "password", "auth_token"} & set(_keys(info["config"])), (
        "no secret is published"
    )


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for inner in value.values() for key in _keys(inner))]
    return [key for inner in value for key in _keys(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("token", [None, "", "wrong"], ids=["none", "empty", "wrong"])
def test_its_frontend_refuses_without_the_token(
    under_test: UnderTest, guest: Guest, token: str | None
) -> None:
    with pytest.raises(UnauthorizedError):
        frontend(under_test, guest, token)


def test_its_frontend_is_served_over_tls_only(under_test: UnderTest, guest: Guest) -> None:
    plain = http.client.HTTPConnection(address_of(guest), WEB, timeout=TIMEOUT)
    try:
        plain.request("GET", "/")
        answer = plain.getresponse()
        assert answer.status >= 300, "plain HTTP may at most redirect"
        assert not answer.getheader("Location", "https://").startswith("http://")
    except (http.client.HTTPException, OSError):
        pass  # or not answer at all
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((address_of(guest), PLAIN), 3)


def test_its_network_is_the_one_in_the_secrets(under_test: UnderTest, host: Any) -> None:
    advanced = configuration(host)["advanced"]
    kept = yaml.safe_load(host.file(f"{DATA}/secret.yaml").content)
    # Not in an assertion of values: pytest would print the key.
    same = kept["network_key"] == json.loads(under_test.secret("zigbee2mqtt/network-key"))
    assert same, "the network key differs"
    assert advanced["network_key"] == "!secret network_key"
    assert advanced["pan_id"] == json.loads(under_test.secret("zigbee2mqtt/pan-id"))
    assert advanced["ext_pan_id"] == json.loads(under_test.secret("zigbee2mqtt/ext-pan-id"))


def test_the_radio_is_in_that_network(under_test: UnderTest, guest: Guest) -> None:
    with frontend(under_test, guest, under_test.secret("zigbee2mqtt/frontend-token")) as connected:
        found = connected.wait(lambda topics: topics.get("bridge/info"))["network"]
    assert int(found["pan_id"]) == json.loads(under_test.secret("zigbee2mqtt/pan-id"))
    wanted = bytes(json.loads(under_test.secret("zigbee2mqtt/ext-pan-id")))
    assert int(str(found["extended_pan_id"]), 16) in (
        int.from_bytes(wanted, "big"),
        int.from_bytes(wanted, "little"),
    )


def test_it_has_every_setting_that_is_held(host: Any) -> None:
    held = json.loads(host.file("/etc/zigbee2mqtt/managed.json").content)
    merged = configuration(host)
    for section, settings in held.items():
        for name, value in settings.items():
            now = merged[section][name]
            shown = {key: now.get(key) for key in value} if isinstance(value, dict) else now
            assert shown == value, f"{section}.{name}"


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, "zigbee2mqtt.service", "zigbee2mqtt", steady=False)


def test_nobody_else_reads_its_files(host: Any) -> None:
    folder = host.file(DATA)
    assert (folder.user, folder.mode) == ("zigbee2mqtt", 0o700)
    for path in ("/etc/zigbee2mqtt/environment", "/etc/zigbee2mqtt/managed.json"):
        file = host.file(path)
        assert (file.user, file.mode) == ("root", 0o600)
    secret = host.file(f"{DATA}/secret.yaml")
    assert (secret.user, secret.mode) == ("zigbee2mqtt", 0o600)
    # Nor are they in what everybody may ask systemd and /proc about.
    shown = host.check_output(
        "systemctl show zigbee2mqtt; xargs -0 </proc/$(systemctl show -p MainPID --value zigbee2mqtt)/cmdline"
    )
    kept = yaml.safe_load(secret.content)
    told = [name for name in ("mqtt_password", "auth_token") if kept[name] in shown]
    assert not told

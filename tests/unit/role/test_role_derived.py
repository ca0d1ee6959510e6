"""Users, rights, certificates and names come from the declarations and the fleet, and from nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from role_kit import FakeRun, dual, fleet, guest

from hearth.errors import HearthError
from hearth.role.acl import VERIFIER, acl_text, check_filter, mqtt_users
from hearth.role.certificates import certificate_for
from hearth.role.declaration import Need, Port, Role, Topic

BROKER = Role(provides=(Port("mqtts", 8883, tls=True, audience="lan"),), name="mosquitto")
CLIENT = Role(
    needs=(Need("mosquitto", "mqtts", topics=(Topic("zigbee/#"), Topic("homeassistant/#", "write"))),),
    name="z_two",
)
ROLES = {
    "base": Role(name="base"),
    "mosquitto": BROKER,
    "z_two": CLIENT,
    "front_door": Role(name="front_door"),
}


def names(found: object) -> list[str]:
    return [user.name for user in found]  # type: ignore[attr-defined]


def test_a_user_for_each_service_and_device() -> None:
    two = fleet(guest("comms", 135, "mosquitto", "z_two"), guest("data", 139, "z_two"))
    users = mqtt_users(two, ROLES, {"lamp": {"publish": ["lamp/state"], "subscribe": ["lamp/set"]}})
    assert names(users) == [VERIFIER, "lamp", "z-two-comms", "z-two-data"]
    text = acl_text(users)
    assert "user z-two-data\ntopic readwrite zigbee/#\ntopic write homeassistant/#\n" in text
    assert "user lamp\ntopic write lamp/state\ntopic read lamp/set\n" in text
    assert "pattern" not in text


def test_no_rule_stands_before_the_first_user() -> None:
    """A `topic` line above every `user` line would hold for anonymous clients."""
    lines = [
        line for line in acl_text(mqtt_users(fleet(), ROLES, {})).splitlines() if line[:1] not in ("", "#")
    ]
    assert lines[0].startswith("user ")


@pytest.mark.parametrize(
    "devices",
    [
        {"a:b": {}},
        {"a b": {}},
        {"": {}},
        {"a\nuser b": {}},
        {"+": {}},
        {"z-two-comms": {}},
        {VERIFIER: {}},
        {"lamp": {"publish": "one/text"}},
        {"lamp": {"publishes": []}},
        {"lamp": []},
        {"lamp": {"publish": ["a/#/b"]}},
        {"lamp": {"publish": ["a\ntopic readwrite #"]}},
        {"lamp": {"subscribe": [" a"]}},
        {"lamp": {"subscribe": [""]}},
    ],
)
def test_a_device_that_mosquitto_would_misread_is_refused(devices: dict[str, object]) -> None:
    with pytest.raises(HearthError):
        mqtt_users(fleet(guest("comms", 135, "z_two")), ROLES, devices)


@pytest.mark.parametrize("topic", ["a", "#", "+", "a/+/b", "a/#", "$SYS/x", "with blank/inside", "/", "grün"])
def test_filters_that_mqtt_allows(topic: str) -> None:
    assert check_filter(topic) is None


@pytest.mark.parametrize("topic", ["", "a+", "+a", "a#", "#/a", "a/#/", "a\x00", "a ", "\ta", "x" * 65536])
def test_filters_that_mqtt_forbids(topic: str) -> None:
    assert check_filter(topic) is not None


def test_a_certificate_for_guests_with_tls_only() -> None:
    both = fleet(dual("comms", 135, "mosquitto"), guest("data", 139, "z_two"))
    found = certificate_for(both.guest("comms"), both, ROLES)
    assert found is not None
    assert found.names == ("comms", "comms.home.test")
    assert found.addresses == (IPv4Address("192.168.1.135"), IPv6Address("fd00::135"))
    assert certificate_for(both.guest("data"), both, ROLES) is None


def test_the_front_doors_address_is_in_the_certificates_behind_it() -> None:
    both = fleet(guest("comms", 135, "mosquitto"), guest("hall", 134, "front_door"))
    found = certificate_for(both.guest("comms"), both, ROLES)
    assert found is not None
    assert IPv4Address("192.168.1.134") in found.addresses
    assert "hall" in found.names


def test_an_address_from_dhcp_is_in_no_certificate() -> None:
    one = fleet(guest("comms", 135, "mosquitto", address="dhcp"))
    found = certificate_for(one.guest("comms"), one, ROLES)
    assert found is not None
    assert found.addresses == ()


def test_hosts_has_every_guest_and_the_own_name_first() -> None:
    run = FakeRun(fleet(guest("comms", 135), dual("data", 139), guest("roaming", 150, address="dhcp")))
    assert run.here("data", "base").host_lines() == (
        "192.168.1.139 data.home.test data",
        "fd00::139 data.home.test data",
        "192.168.1.135 comms.home.test comms",
        "192.168.1.185 pve",
    )


def test_providers_are_found_by_role_and_port() -> None:
    run = FakeRun(
        fleet(guest("comms", 135, "mosquitto"), guest("data", 139), guest("standby", 138, "mosquitto"))
    )
    found = run.here("data", "base").providers("mosquitto.mqtts")
    assert [(each.guest.name, each.port.number) for each in found] == [("comms", 8883), ("standby", 8883)]


def test_a_value_that_is_not_set_says_where_to_set_it() -> None:
    run = FakeRun(fleet(guest("comms", 135, "mosquitto")))
    with pytest.raises(HearthError, match=r"group_data/mosquitto\.py"):
        run.here("comms", "mosquitto").value("no_such_value")


def test_a_certificate_without_tls_is_refused() -> None:
    run = FakeRun(fleet(guest("data", 139)))
    with pytest.raises(HearthError, match="tls=True"):
        run.here("data", "base").certificate()


def test_an_undefined_name_in_a_template_is_named_with_its_line(tmp_path: object) -> None:
    from pathlib import Path

    project = Path(str(tmp_path))
    (project / "templates" / "base").mkdir(parents=True)
    (project / "templates" / "base" / "x.j2").write_text("one\n{{ nothing }}\n")
    run = FakeRun(fleet(guest("data", 139)), project=project)
    with pytest.raises(HearthError, match=r"x\.j2:2"):
        run.here("data", "base").template("x.j2", "/etc/x")

"""How old secrets may become, and what uses them."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Admin, Fleet, Guest, Network, Node
from hearth.role.catalogue import load_roles
from hearth.secrets.policy import certificate_due, check_policy, days_of, due, is_part, kind_of
from hearth.secrets.users import users_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROLES = load_roles(Path(__file__).parents[3] / "roles")


def guest(name: str, last: int, *roles: str) -> Guest:
    address = IPv4Address(f"192.0.2.{last}")
    return Guest(
        name=name, kind="lxc", address=address, node="pve", vmid=last, network="lan", roles=("base", *roles)
    )


FLEET = Fleet(
    nodes=(Node(name="pve", address=IPv4Address("192.0.2.9"), endpoint="x", storage="s", images="i"),),
    networks=(Network(name="lan", bridge="b", subnet=IPv4Network("192.0.2.0/24"), domain="home.test"),),
    guests=(
        guest("comms", 10, "mosquitto", "zigbee2mqtt", "mcp_hub", "ai_automation"),
        guest("second", 11, "mosquitto"),
        guest("home-assistant", 12, "home_assistant"),
        guest("database", 13, "postgresql"),
        guest("security", 14, "vaultwarden"),
    ),
    admin=Admin(),
)


@pytest.mark.parametrize(
    ("made", "days", "age", "is_due"),
    [
        (NOW, 1, 0, False),
        (NOW - timedelta(days=1), 1, 1, True),
        (NOW - timedelta(hours=23, minutes=59), 1, 0, False),
        (NOW - timedelta(days=9999), None, 9999, False),
        (NOW + timedelta(days=1), 30, -1, False),
    ],
)
def test_due(made: datetime, days: int | None, age: int, is_due: bool) -> None:
    found = due(made.strftime("%Y-%m-%dT%H:%M:%SZ"), days, NOW)
    assert (found.age, found.is_due) == (age, is_due)


@pytest.mark.parametrize("made", ["2026-11-01T08:00:00.000Z", "2026-11-01T08:00:00Z", "2026-11-01T08:00:00"])
def test_times_as_the_file_and_bitwarden_write_them(made: str) -> None:
    assert due(made, 1, NOW).age == 22


def test_of_unknown_age() -> None:
    found = due(None, 1, NOW)
    assert (found.age, found.on, found.is_due) == (None, None, False)


@pytest.mark.parametrize(("left", "is_due"), [(29, True), (30, True), (31, False)])
def test_a_certificate_by_its_end(left: int, is_due: bool) -> None:
    assert certificate_due(None, NOW + timedelta(days=left), 30, NOW).is_due is is_due


def test_the_admins_policy_comes_first_and_the_first_pattern_wins() -> None:
    policy = {"mqtt/garden-*": None, "mqtt/*": 10}
    assert days_of("mqtt/garden-1", policy) is None
    assert days_of("mqtt/kitchen", policy) == 10
    assert days_of("proxmox/token", policy) == 180


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mqtt/x", "MQTT password"),
        ("home-assistant/token/hearth", "Home Assistant token"),
        ("home-assistant/owner", "Home Assistant owner"),
        ("tls/comms/cert", "certificate"),
        ("mcp-hub/token/a", "MCP token"),
        ("mcp-hub/server/garden", "secret of yours"),
        ("mine", "secret of yours"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name).name == kind


@pytest.mark.parametrize(
    "name",
    ["mqtt-salt/x", "vaultwarden/admin-token-salt", "postgresql-salt/x", "tls/comms/key", "rotating/mqtt/x"],
)
def test_what_is_no_secret_of_its_own(name: str) -> None:
    assert is_part(name)
    assert not is_part(name.replace("-salt", "").replace("rotating/", "").replace("key", "cert"))


@pytest.mark.parametrize("value", [[], {"a": "x"}, {"a": 0}, {"a": True}, {1: 5}, {"a": 1.5}])
def test_a_policy_that_is_none(value: object) -> None:
    with pytest.raises(HearthError, match="secrets_due"):
        check_policy(value)


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("mqtt/zigbee2mqtt-comms", {"mosquitto on comms", "mosquitto on second", "zigbee2mqtt on comms"}),
        ("mqtt/zigbee2mqtt-gone", {"mosquitto on comms", "mosquitto on second"}),
        ("home-assistant/token/mcp-hub-comms", {"mcp_hub on comms", "home_assistant on home-assistant"}),
        ("postgresql/home-assistant", {"postgresql on database", "home_assistant on home-assistant"}),
        ("vaultwarden/admin-token", {"vaultwarden on security"}),
        ("tls/security/cert", {"the TLS ports of security"}),
        ("proxmox/token", {"this run, at Proxmox"}),
        ("ssh/deploy", {"this run, in every guest"}),
        ("nobodys", set()),
    ],
)
def test_users(name: str, users: set[str]) -> None:
    assert set(users_of(name, FLEET, ROLES)) == users

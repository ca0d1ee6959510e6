"""The zigbee2mqtt role: its settings, how Zigbee2MQTT takes them, and what it may do around it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from role_kit import PROJECT, FakeRun, fleet, group_data, guest

from hearth.errors import HearthError
from hearth.role.acl import acl_text, mqtt_users
from roles.zigbee2mqtt import DATA, config_files, managed, network, role, settings
from roles.zigbee2mqtt.network import Network

STICK = "/dev/serial/by-id/usb-ITead_Sonoff_Zigbee"
TCP = {"zigbee2mqtt_adapter": "tcp://192.168.1.150:6638", "zigbee2mqtt_adapter_type": "zstack"}
KNOWN = Network(tuple(range(16)), 4711, tuple(range(8)))
TEMPLATES = PROJECT / "templates/zigbee2mqtt"


def here(*devices: str, **data: Any) -> Any:
    """The role on a guest beside the broker's."""
    comms = guest("comms", 135, "mosquitto")
    radio = guest("radio", 136, "zigbee2mqtt", devices=devices)
    return FakeRun(fleet(comms, radio)).here("radio", "zigbee2mqtt", **data)


def variables(text: str) -> dict[str, str]:
    """An EnvironmentFile as systemd.exec(5) reads it: for what stands in it, as a shell does."""
    script = 'set -a; eval "$(cat)"; env -0'
    done = subprocess.run(
        ["env", "-i", "sh", "-c", script], input=text.encode(), capture_output=True, check=True
    )
    found = dict(entry.partition("=")[::2] for entry in done.stdout.decode().split("\0"))
    return {name: value for name, value in found.items() if name.startswith(settings.PREFIX)}


def test_the_broker_is_asked_by_name_over_tls_with_a_login_of_its_own() -> None:
    mqtt = managed(here(**TCP))["mqtt"]
    assert mqtt["server"] == "mqtts://comms:8883"
    assert mqtt["reject_unauthorized"] is True
    assert mqtt["ca"] == "/etc/zigbee2mqtt/ca.crt"
    assert (mqtt["version"], mqtt["base_topic"]) == (5, "zigbee2mqtt")
    assert mqtt["user"] == "zigbee2mqtt-radio"


def test_its_login_may_do_what_it_must_and_no_more() -> None:
    run = FakeRun(fleet(guest("comms", 135, "mosquitto"), guest("radio", 136, "zigbee2mqtt")))
    users = mqtt_users(run.fleet, run.roles, {})
    text = acl_text([user for user in users if user.name == "zigbee2mqtt-radio"])
    assert [line for line in text.splitlines() if line.startswith("topic")] == [
        "topic readwrite zigbee2mqtt/#",
        "topic read homeassistant/#",
        "topic write homeassistant/+/+/+/config",
    ]


def test_the_frontend_is_on_loopback_with_a_token_and_behind_tls() -> None:
    found = managed(here(**TCP))["frontend"]
    port = role.port("web")
    assert (found["host"], found["port"]) == ("127.0.0.1", port.behind)
    assert found["auth_token"] == "!secret auth_token"
    assert port.tls


def test_no_secret_stands_where_it_need_not() -> None:
    place = here(**TCP)
    network.to_secrets(place.secrets, KNOWN)
    files = {file.path: file for file in config_files(place)}
    hidden = [place.secrets.get(f"mqtt/{name}").reveal() for name in ("zigbee2mqtt-radio",)]
    hidden += [place.secrets.get("zigbee2mqtt/frontend-token").reveal(), json.dumps(KNOWN.key)]
    for path, file in files.items():
        assert [text for text in hidden if text in file.text] == (
            hidden if path.endswith("secret.yaml") else []
        )
    secret = files[f"{DATA}/secret.yaml"]
    assert (secret.user, secret.mode, secret.secret) == ("zigbee2mqtt", "600", True)
    assert yaml.safe_load(secret.text)["network_key"] == list(KNOWN.key)
    assert files["/etc/zigbee2mqtt/environment"].mode == "600"


def test_every_setting_becomes_the_variable_that_zigbee2mqtt_reads() -> None:
    text = settings.environment(
        {
            "mqtt": {"server": "mqtts://comms:8883", "version": 5, "reject_unauthorized": True},
            "advanced": {"log_output": ["console"], "log_namespaced_levels": {"z2m:mqtt": "warning"}},
            "availability": {"active": {"timeout": 10, "backoff": False}},
            "device_options": {"retain": True},
        }
    )
    assert variables(text) == {
        "ZIGBEE2MQTT_CONFIG_MQTT_SERVER": "mqtts://comms:8883",
        "ZIGBEE2MQTT_CONFIG_MQTT_VERSION": "5",
        "ZIGBEE2MQTT_CONFIG_MQTT_REJECT_UNAUTHORIZED": "true",
        "ZIGBEE2MQTT_CONFIG_ADVANCED_LOG_OUTPUT": '["console"]',
        "ZIGBEE2MQTT_CONFIG_ADVANCED_LOG_NAMESPACED_LEVELS": '{"z2m:mqtt": "warning"}',
        "ZIGBEE2MQTT_CONFIG_AVAILABILITY_ACTIVE_TIMEOUT": "10",
        "ZIGBEE2MQTT_CONFIG_AVAILABILITY_ACTIVE_BACKOFF": "false",
        "ZIGBEE2MQTT_CONFIG_DEVICE_OPTIONS": '{"retain": true}',
    }


@pytest.mark.parametrize("text", ['a "b" c', "$HOME `id` \\n", "it's", " blanks ", "é", "!secret x"])
def test_a_text_reaches_it_as_it_is(text: str) -> None:
    assert variables(settings.environment({"mqtt": {"user": text}})).popitem()[1] == text


@pytest.mark.parametrize("value", [None, "", "two\nlines", object()])
def test_what_no_variable_can_carry_is_refused(value: object) -> None:
    with pytest.raises(HearthError, match=r"mqtt\.user"):
        settings.environment({"mqtt": {"user": value}})


def test_the_admins_settings_win_and_the_others_stay() -> None:
    tuned = {"advanced": {"last_seen": "ISO_8601"}, "availability": {"active": {"timeout": 3}}}
    found = managed(here(**TCP, zigbee2mqtt_settings=tuned))
    assert found["advanced"]["last_seen"] == "ISO_8601"
    assert found["advanced"]["log_output"] == ["console"]
    assert found["availability"]["active"] == {"timeout": 3}
    assert found["availability"]["passive"] == {"timeout": 1500}


@pytest.mark.parametrize(
    "tuned",
    [
        {"devices": {"0x1": {"friendly_name": "x"}}},
        {"groups": {"1": {"friendly_name": "x"}}},
        {"advanced": {"network_key": "GENERATE"}},
        {"advanced": {"pan_id": 1}},
        {"frontend": {"host": "0.0.0.0"}},
        {"frontend": {"auth_token": "x"}},
        {"mqtt": {"server": "mqtt://elsewhere"}},
        {"mqtt": {"reject_unauthorized": False}},
        [],
    ],
)
def test_what_is_not_for_the_admin_to_set_here_is_refused(tuned: Any) -> None:
    with pytest.raises(HearthError, match="zigbee2mqtt_settings"):
        managed(here(**TCP, zigbee2mqtt_settings=tuned))


def test_a_channel_that_nobody_chose_is_left_as_it_is() -> None:
    assert "channel" not in managed(here(**TCP))["advanced"]
    assert managed(here(**TCP, zigbee2mqtt_channel=15))["advanced"]["channel"] == 15


def test_the_guests_only_stick_is_the_adapter() -> None:
    assert settings.adapter(None, None, [STICK, "/dev/net/tun"]) == settings.Adapter(STICK, None)
    assert settings.adapter(STICK, "ember", [STICK, f"{STICK}2"]) == settings.Adapter(STICK, "ember")
    assert settings.adapter("tcp://[fd00::1]:6638", "zstack", [STICK]).device is None


@pytest.mark.parametrize(
    ("chosen", "kind", "devices", "words"),
    [
        (None, None, [], "no serial device"),
        (None, None, [STICK, f"{STICK}2"], "2 serial devices"),
        (STICK, None, [], "no device"),
        ("/dev/ttyUSB0", None, [STICK], "no device"),
        ("tcp://radio", "zstack", [], "no address"),
        ("tcp://:6638", "zstack", [], "no address"),
        ("tcp://radio:usb", "zstack", [], "no address"),
        ("tcp://radio:6638", None, [], "adapter_type|found out"),
        ("udp://radio:6638", "zstack", [], "no device"),
    ],
)
def test_an_adapter_that_cannot_be_is_refused(chosen: Any, kind: Any, devices: list[str], words: str) -> None:
    with pytest.raises(HearthError, match=words):
        settings.adapter(chosen, kind, devices)


def unit(*devices: str, **data: Any) -> str:
    """The unit's text."""
    place = here(*devices, **data)
    device = settings.adapter(place.value("adapter"), place.value("adapter_type"), place.guest.devices).device
    values = {
        "current": "/opt/hearth/zigbee2mqtt/current",
        "data": DATA,
        "environment": "/e",
        "guard": "/g",
        "device": device,
    }
    return str(place.render("zigbee2mqtt.service.j2", **values))


def test_a_stick_is_the_only_device_that_the_service_may_open() -> None:
    lines = unit(STICK).splitlines()
    assert f"DeviceAllow={STICK} rw" in lines
    assert "DevicePolicy=closed" in lines
    assert "SupplementaryGroups=dialout" in lines
    # systemd takes the last one, systemd.unit(5).
    assert [line for line in lines if line.startswith("PrivateDevices=")][-1] == "PrivateDevices=no"


def test_without_a_stick_it_has_no_device_and_no_group() -> None:
    lines = unit(**TCP).splitlines()
    assert [line for line in lines if line.startswith("PrivateDevices=")] == ["PrivateDevices=yes"]
    assert not [line for line in lines if line.startswith(("DeviceAllow", "SupplementaryGroups"))]


def test_it_is_started_again_for_ever_and_never_opens_its_setup_pages() -> None:
    lines = unit(**TCP).splitlines()
    assert {"Restart=always", "StartLimitIntervalSec=0", "Environment=Z2M_ONBOARD_NO_SERVER=1"} <= set(lines)


def test_an_adapter_with_anothers_network_is_left_alone_unless_the_admin_says_so() -> None:
    allowed = "Environment=HEARTH_OVERWRITE_ADAPTER=1"
    (start,) = (line for line in unit(**TCP).splitlines() if line.startswith("ExecStart="))
    assert start.split()[1:3] == ["--require", "/g"]
    assert allowed not in unit(**TCP)
    assert allowed in unit(**TCP, zigbee2mqtt_overwrite_adapter=True).splitlines()


def test_two_guests_with_the_role_are_refused() -> None:
    both = (guest("one", 1, "mosquitto", "zigbee2mqtt"), guest("two", 2, "zigbee2mqtt"))
    place = FakeRun(fleet(*both)).here("two", "zigbee2mqtt", **TCP)
    assert role.deployer is not None
    with pytest.raises(HearthError, match=r"one, two"):
        role.deployer(place)


def test_its_dependencies_are_locked_to_what_was_published_and_name_no_mirror() -> None:
    lock = json.loads((TEMPLATES / "package-lock.json").read_text())
    wanted = json.loads((TEMPLATES / "package.json").read_text())["dependencies"]["zigbee2mqtt"]
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted)
    assert packages["node_modules/zigbee2mqtt"]["version"] == wanted
    assert len(packages) > 50
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [
        name for name, package in packages.items() if not package["integrity"].startswith("sha512-")
    ] == []


def folder(older: Path, data: Path) -> str:
    """Run what makes the data folder, here, for this test's user."""
    text = here(**TCP).render("folder.sh.j2", user="root", data=str(data), older=str(older))
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return str(oct(data.stat().st_mode & 0o777))


def test_an_older_installation_is_copied_once_and_stays(tmp_path: Path) -> None:
    older, data = tmp_path / "older", tmp_path / "data"
    older.mkdir()
    for name in ("configuration.yaml", "database.db", "coordinator_backup.json"):
        (older / name).write_text(name)
    assert folder(older, data) == "0o700"
    assert {path.name: path.read_text() for path in data.iterdir()} == {
        path.name: path.name for path in older.iterdir()
    }
    assert not [path for path in data.iterdir() if path.stat().st_mode & 0o077]
    (data / "database.db").write_text("newer")
    folder(older, data)
    assert (data / "database.db").read_text() == "newer"
    assert (older / "database.db").read_text() == "database.db"


def test_without_an_older_installation_the_folder_is_empty(tmp_path: Path) -> None:
    assert folder(tmp_path / "nothing", tmp_path / "data") == "0o700"
    assert list((tmp_path / "data").iterdir()) == []


def test_group_data_is_complete() -> None:
    names = {name for name in vars(group_data()) if name.startswith("zigbee2mqtt_")}
    source = " ".join(path.read_text() for path in (PROJECT / "roles/zigbee2mqtt").glob("*.py"))
    source += " ".join(path.read_text() for path in TEMPLATES.glob("*.j2"))
    used = {f"zigbee2mqtt_{name}" for name in re.findall(r'here\.(?:value|number)\("(\w+)"', source)}
    assert used == names

"""The Zigbee network: made once, taken over from a home that has one, and never made a second time."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.secrets import MissingSecretError, SecretStore
from roles.zigbee2mqtt import network
from roles.zigbee2mqtt.network import NAMES, Network

KEY = [7, 8, 9, 250, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
EXT = [1, 2, 3, 4, 5, 6, 7, 255]
OWN = Network(tuple(KEY), 6000, tuple(EXT))
CONFIGURATION = f"""
mqtt: {{base_topic: zigbee2mqtt, server: 'mqtt://localhost'}}
advanced:
  network_key: {KEY}
  pan_id: 6000
  ext_pan_id: {EXT}
  channel: 20
"""


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets.age", tmp_path / "age.key", {}, notify=lambda _: None)


def test_a_network_is_found_as_zigbee2mqtt_has_written_it() -> None:
    assert network.found_in({"configuration.yaml": CONFIGURATION}) == OWN


@pytest.mark.parametrize("name", ["secret", "secret.yaml", "other.yml"])
def test_a_key_in_another_file_is_found(name: str) -> None:
    text = CONFIGURATION.replace(str(KEY), f"'!{name} network_key'")
    file = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    found = network.found_in({"configuration.yaml": text, file: f"network_key: {KEY}\n"})
    assert found == OWN


def test_what_a_formed_network_does_not_say_is_zigbee2mqtts_default() -> None:
    text = "mqtt: {server: x}\nadvanced: {pan_id: 6000}\n"
    for sign in ("database.db", "coordinator_backup.json"):
        found = network.found_in({"configuration.yaml": text, sign: ""})
        assert found == Network((1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13), 6000, (0xDD,) * 8)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"database.db": ""},
        {"configuration.yaml": "mqtt: {server: x}\n"},
        {"configuration.yaml": "advanced:\n"},
        {"configuration.yaml": "advanced: {network_key: GENERATE, pan_id: GENERATE, ext_pan_id: GENERATE}\n"},
    ],
    ids=["nothing", "no configuration", "never formed", "empty", "to be generated"],
)
def test_where_none_was_formed_there_is_none(files: Mapping[str, str]) -> None:
    assert network.found_in(files) is None


@pytest.mark.parametrize(
    "files",
    [
        {"configuration.yaml": "a: [", "database.db": ""},
        {"configuration.yaml": "- a list\n", "database.db": ""},
        {"configuration.yaml": CONFIGURATION.replace("250", "256")},
        {"configuration.yaml": CONFIGURATION.replace("7, 8, 9, 250", "7")},
        {"configuration.yaml": CONFIGURATION.replace("6000", "65535")},
        {"configuration.yaml": CONFIGURATION.replace(str(KEY), "'!secret network_key'")},
        {"configuration.yaml": CONFIGURATION.replace(str(KEY), "GENERATE"), "database.db": ""},
    ],
    ids=["no YAML", "no mapping", "no byte", "too short", "PAN ID", "file gone", "generated and lost"],
)
def test_a_network_that_cannot_be_read_is_an_error_and_never_none(files: Mapping[str, str]) -> None:
    with pytest.raises(HearthError, match="take over the Zigbee network") as raised:
        network.found_in(files)
    assert str(KEY) not in str(raised.value)


def test_a_new_network_is_one_of_its_own() -> None:
    made = [network.generated() for _ in range(50)]
    assert len({one.key for one in made}) == len({one.ext_pan_id for one in made}) == 50
    assert len({one.pan_id for one in made}) > 40


def test_it_goes_through_the_secrets_as_it_is(store: SecretStore) -> None:
    network.to_secrets(store, OWN)
    store.save()
    again = SecretStore(store.path, store.identity_file, {})
    assert network.from_secrets(again) == OWN
    assert json.loads(again.get("zigbee2mqtt/network-key").reveal()) == KEY


def test_the_key_shows_nowhere() -> None:
    assert "250" not in repr(OWN)


@pytest.mark.parametrize("text", ["[1, 2]", "no list", "{}", "5", '["a"]'])
def test_damaged_secrets_are_named(store: SecretStore, text: str) -> None:
    network.to_secrets(store, OWN)
    store.put("zigbee2mqtt/network-key", text)
    with pytest.raises(HearthError, match="zigbee2mqtt/network-key"):
        network.from_secrets(store)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_is_missing_is_not_made_up(store: SecretStore, name: str) -> None:
    network.to_secrets(store, OWN)
    store.save()
    store.remove(name)
    assert network.in_secrets(store)
    with pytest.raises(MissingSecretError, match=name):
        network.from_secrets(store)


class FakeGuest:
    """Answers the one command that reads the folder."""

    name = "comms"

    def __init__(self, files: Mapping[str, str], ends_well: bool = True) -> None:
        self.files, self.ends_well = files, ends_well
        self.shown: list[Any] = []
        self.logged: list[str] = []

    def run_shell_command(self, _: str, **shown: Any) -> Any:
        self.shown.append(shown)
        lines = [f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in self.files.items()]
        return self.ends_well, SimpleNamespace(stdout_lines=lines, stderr="no permission")

    def log(self, text: str) -> None:
        self.logged.append(text)

    def log_styled(self, text: str, **_: Any) -> None:
        self.logged.append(text)


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The step of the operation, outside of a run."""
    run = SimpleNamespace(interrupted=False)
    monkeypatch.setattr("hearth.deploy.outcome.runs.current", lambda: run)
    return network._keep


def test_the_guests_own_network_is_taken_over_and_saved(keep: Any, store: SecretStore) -> None:
    host = FakeGuest({"configuration.yaml": CONFIGURATION, "database.db": ""})
    assert keep(None, host, store, "/var/lib/zigbee2mqtt")
    assert network.from_secrets(SecretStore(store.path, store.identity_file, {})) == OWN
    assert host.shown == [{"print_output": False, "print_input": False}]
    assert "took" in host.logged[0]


def test_where_there_was_none_a_new_one_is_made_and_saved(keep: Any, store: SecretStore) -> None:
    host = FakeGuest({})
    assert keep(None, host, store, "/var/lib/zigbee2mqtt")
    assert network.from_secrets(SecretStore(store.path, store.identity_file, {})).key != tuple(KEY)
    assert "new" in host.logged[0]


@pytest.mark.parametrize(
    "host",
    [FakeGuest({"configuration.yaml": "a: [", "database.db": ""}), FakeGuest({}, ends_well=False)],
    ids=["cannot be understood", "cannot be read"],
)
def test_where_it_cannot_be_told_nothing_is_made(keep: Any, store: SecretStore, host: FakeGuest) -> None:
    assert not keep(None, host, store, "/var/lib/zigbee2mqtt")
    assert not store.path.exists()
    assert not network.in_secrets(SecretStore(store.path, store.identity_file, {}))

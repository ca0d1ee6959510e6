"""The real Home Assistant on a real guest: nothing broken goes live, and what is inside is made so once."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.home_assistant.client import Client, Place
from hearth.home_assistant.tokens import PREFIX, holds, id_of
from hearth.role.tokens import token_name
from hearth.secrets import SecretStore
from tests.twin.handle import until
from tests.twin.home_kit import Done, Home

pytestmark = pytest.mark.long

CONFIG = "/var/lib/home-assistant"
UNIT = "home-assistant.service"
RUNS = 240.0  # seconds until it answers after a start, on a busy machine


class Guest:
    """The guest with Home Assistant, and what the admin writes about it."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.place = place
        self.name = home.fleet.with_role("home_assistant")[0].name

    def deploy(self, **values: Any) -> Done:
        """A deploy of this guest with other values of group_data."""
        env = self.home.with_values(self.place / "overrides.yaml", **values)
        return self.home.deploy("--limit", self.name, env=env, patience=900)

    def package(self, text: str) -> dict[str, str]:
        """A package of the admin's own."""
        path = self.place / "package.yaml"
        path.write_text(text)
        return {"mine": str(path)}

    def process(self) -> str:
        """Home Assistant's main process."""
        return self.home.said(self.name, f"systemctl show -p MainPID --value {UNIT}")

    def files(self) -> str:
        """Its configuration, as digests."""
        return self.home.said(
            self.name, f"cd {CONFIG} && find *.yaml hearth -type f | sort | xargs sha256sum"
        )

    def client(self, name: str = "hearth") -> Client:
        """Its API, by the front, with a client's token."""
        trusted = ssl.create_default_context(cadata=self.home.secret("ca/cert"))
        place = Place(self.name, f"https://{self.home.address(self.name)}:8123", trusted=trusted)
        return Client(place, self.home.secret(token_name(name)))

    def asked(self, path: str, name: str = "hearth") -> Any:
        """A GET of its API."""
        with self.client(name) as client:
            return self.home.twin.call(lambda: client.call("GET", path, "ask"))

    def command(self, kind: str, **content: Any) -> Any:
        """A WebSocket command's result."""
        with self.client() as client:
            return self.home.twin.call(lambda: client.ask(kind, "ask", **content))

    def wait_until_it_runs(self) -> None:
        """Wait until it has started."""

        def state() -> bool | None:
            try:
                return True if self.asked("/api/config")["state"] == "RUNNING" else None
            except (HearthError, OSError):  # the guest, HAProxy or Home Assistant is not up yet
                return None

        until(state, RUNS)


@pytest.fixture(scope="module")
def guest(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """The guest; afterwards it is as it was."""
    found = Guest(home, tmp_path_factory.mktemp("home-assistant"))
    yield found
    found.deploy().went_well()
    found.deploy().silent()


GOOD = "input_boolean:\n  mine:\n    name: Mine\n"
AUTOMATION = (
    "automation:\n  - id: mine\n    alias: Mine\n    triggers: [{trigger: nosuch}]\n    actions: []\n"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input_boolean: [\n", ["mine.yaml"]),
        ("nosuchintegration: {}\n", ["nosuchintegration"]),
        ("input_boolean:\n  mine:\n    nosuchoption: 1\n", ["nosuchoption"]),
        ("input_boolean:\n  a: {}\n  a: {}\n", ["duplicate key"]),
        ("sensor:\n  - platform: nosuchplatform\n", ["nosuchplatform"]),
        ("input_text:\n  mine:\n    initial: !secret nosuchsecret\n", ["nosuchsecret"]),
        (AUTOMATION, ["nosuch"]),
    ],
    ids=["yaml", "integration", "option", "duplicate", "platform", "secret", "automation"],
)
def test_a_broken_configuration_is_refused_in_its_own_words_and_the_old_one_goes_on(
    guest: Guest, text: str, words: list[str]
) -> None:
    before = guest.process(), guest.files()
    guest.deploy(home_assistant_packages=guest.package(text)).refused(*words, "kept as it was")
    assert (guest.process(), guest.files()) == before
    assert guest.asked("/api/config")["state"] == "RUNNING"


def test_a_package_is_taken_with_one_restart_and_leaves_with_another(guest: Guest) -> None:
    before = guest.process()
    with_package = {"home_assistant_packages": guest.package(GOOD)}
    guest.deploy(**with_package).went_well()
    now = guest.process()
    assert now != before
    assert guest.asked("/api/states/input_boolean.mine")["state"] == "off"
    guest.deploy(**with_package).silent()
    assert guest.process() == now
    guest.deploy().went_well()
    assert "mine" not in guest.home.said(guest.name, f"cat {CONFIG}/configuration.yaml")


def test_levels_of_the_log_are_set_without_a_restart(guest: Guest) -> None:
    before = guest.process()
    levels = {"home_assistant_log_levels": {"homeassistant.components.mqtt": "debug"}}
    done = guest.deploy(**levels).went_well()
    assert guest.process() == before, done.text
    listed = {row["domain"]: row["level"] for row in guest.command("logger/log_info")}
    assert listed["mqtt"] == 10  # logging.DEBUG
    guest.deploy(**levels).silent()
    guest.deploy().went_well()
    assert guest.process() == before


def test_what_passes_the_check_and_fails_at_the_start_is_taken_back(guest: Guest) -> None:
    """With 60 MB it is killed before it answers."""
    before = guest.files()
    guest.deploy(home_assistant_memory="60M").refused("went back to", "it is healthy")
    assert guest.files() == before
    assert guest.asked("/api/config")["state"] == "RUNNING"
    assert "62914560" not in guest.home.said(guest.name, f"systemctl show -p MemoryMax {UNIT}")


def test_what_the_web_interface_edits_is_never_overwritten(guest: Guest) -> None:
    theirs = json.dumps([{"id": "1", "alias": "Theirs", "triggers": [], "actions": []}])
    path = f"{CONFIG}/automations.yaml"
    guest.home.said(guest.name, f"cp -p {path} {path}.before && cat >{path} <<'END'\n{theirs}\nEND")
    try:
        guest.deploy().silent()
        assert "Theirs" in guest.home.said(guest.name, f"cat {path}")
    finally:
        guest.home.said(guest.name, f"cp -p {path}.before {path} && rm {path}.before")


def test_a_lost_token_is_made_anew_and_the_old_one_no_longer_holds(guest: Guest) -> None:
    store: SecretStore = guest.home.secrets
    name = token_name("hearth-verify")
    old = store.get(name).reveal()
    store.remove(name)
    store.save()
    guest.deploy().went_well()
    new = guest.home.secret(name)
    with guest.client() as client:
        assert guest.home.twin.call(lambda: (holds(client, new), holds(client, old))) == (True, False)
        listed = guest.home.twin.call(lambda: client.ask("auth/refresh_tokens", "list"))
    names = [row["client_name"] for row in listed if (row["client_name"] or "").startswith(PREFIX)]
    assert names.count(PREFIX + "hearth-verify") == 1
    assert id_of(new) in [row["id"] for row in listed]
    guest.deploy().silent()


def test_without_any_token_it_goes_in_by_the_owners_password(guest: Guest) -> None:
    store: SecretStore = guest.home.secrets
    clients = [name for name in store.names() if name.startswith(token_name(""))]
    for name in clients:
        store.remove(name)
    store.save()
    guest.deploy().went_well()
    assert all(guest.home.secrets.find(name) for name in clients)
    sessions = [row for row in guest.command("auth/refresh_tokens") if row["type"] == "normal"]
    assert sessions == [], "the run leaves no session behind"


def test_a_changed_password_of_the_broker_is_given_to_it(guest: Guest) -> None:
    store: SecretStore = guest.home.secrets
    name = f"mqtt/home-assistant-{guest.name}"
    store.put(name, "another-password-of-the-broker")
    store.save()
    broker = guest.home.fleet.with_role("mosquitto")[0].name
    guest.home.deploy("--limit", broker).went_well()
    guest.deploy().went_well()
    entries = guest.command("config_entries/get")
    assert [row["state"] for row in entries if row["domain"] == "mqtt"] == ["loaded"]
    guest.deploy().silent()


def test_a_database_that_does_not_let_it_in_is_refused_and_the_old_one_goes_on(guest: Guest) -> None:
    if not guest.home.fleet.with_role("postgresql"):
        pytest.skip("the fleet has no database")
    store: SecretStore = guest.home.secrets
    name = "postgresql/home-assistant"
    before, right = (guest.process(), guest.files()), store.get(name).reveal()
    store.put(name, "not-the-one-that-the-database-knows")
    store.save()
    try:
        done = guest.deploy()
        done.refused("its database cannot be used", "password authentication failed", "kept as it was")
        assert "not-the-one-that" not in done.text
        assert (guest.process(), guest.files()) == before
    finally:
        store.put(name, right)
        store.save()
    guest.deploy().silent()


def test_a_changed_password_of_the_owner_holds_and_the_tokens_go_on(guest: Guest) -> None:
    store: SecretStore = guest.home.secrets
    store.put("home-assistant/owner", "another password of the owner")
    store.save()
    guest.deploy().went_well()
    assert guest.asked("/api/config")["state"] == "RUNNING"
    guest.deploy().silent()


def test_a_dry_run_changes_nothing_inside(guest: Guest) -> None:
    digests = f"cd {CONFIG}/.storage && sha256sum auth onboarding core.config_entries http"
    before = guest.home.said(guest.name, digests)
    values = ("home_assistant_version=2026.10.0", "home_assistant_log_level=info")
    done = guest.home.dry("--limit", guest.name, *(word for value in values for word in ("--data", value)))
    assert "Install Home Assistant" in done.text
    assert guest.home.said(guest.name, digests) == before


def test_a_stop_and_a_start_of_the_guest_bring_all_back(guest: Guest) -> None:
    guest.home.task("POST", guest.name, "/status/stop")
    guest.home.task("POST", guest.name, "/status/start")
    guest.wait_until_it_runs()
    entries = guest.command("config_entries/get")
    assert {row["state"] for row in entries if row["domain"] in ("mqtt", "mcp_server")} == {"loaded"}

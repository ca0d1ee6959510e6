"""What servers accept and clients use in each phase of a rotation; Home Assistant's tokens, kill by kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from home_assistant_kit import Killed, StandIn, serving
from role_kit import FakeRun, fleet, guest

from hearth.application import clients
from hearth.application.deploy import Application
from hearth.deploy.rotation import advance, finish, missing
from hearth.home_assistant import tokens
from hearth.home_assistant.client import Client
from hearth.home_assistant.home import Home
from hearth.home_assistant.login import Owner
from hearth.home_assistant.people import Onboarded, Tokens
from hearth.pki import Authority
from hearth.secrets import Secret, SecretStore
from hearth.secrets.rotation import PHASES, Phase, Rotation, encode, entry_of
from hearth.secrets.staged import StagedSecrets
from roles.ai_automation import automation_files, rule_files
from roles.mcp_hub import hub_files
from roles.mosquitto import broker_files

CLIENTS = ("hearth", "mcp-hub-comms")
OWNER = Owner("Home", "home", "secret", "en")
TOKENS = Tokens(OWNER, CLIENTS)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets.age", tmp_path / "age.key", notify=lambda _: None)


def begin(store: SecretStore, name: str, **other: str | None) -> None:
    values = {part: Secret(value) if value else None for part, value in other.items()}
    store.put(entry_of(name), encode(Rotation(name, "offered", values)))
    store.save()


def seen(run: FakeRun, phase: Phase) -> FakeRun:
    """The run as it plans a phase."""
    return replace(run, secrets=StagedSecrets(run.secrets, phase))


# ---------------------------------------------------------------- servers and clients


def comms() -> FakeRun:
    guests = (guest("comms", 135, "mosquitto", "mcp_hub", "ai_automation"), guest("second", 136, "mosquitto"))
    return FakeRun(fleet(*guests))


def begin_in_memory(run: FakeRun, name: str, other: dict[str, str]) -> None:
    values = {part: Secret(value) for part, value in other.items()}
    run.secrets.put(entry_of(name), encode(Rotation(name, "offered", values)))


def users(text: str) -> list[str]:
    return [line.split(":")[0] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("phase", "accepted", "used"),
    [
        ("offered", {"mcp-hub-comms", "mcp-hub-comms.b"}, "mcp-hub-comms"),
        ("switched", {"mcp-hub-comms", "mcp-hub-comms.b"}, "mcp-hub-comms.b"),
        ("withdrawn", {"mcp-hub-comms.b"}, "mcp-hub-comms.b"),
    ],
)
def test_a_service_has_two_logins_at_every_broker_with_the_same_rights(
    phase: Phase, accepted: set[str], used: str
) -> None:
    run = comms()
    run.secrets.put("mqtt/mcp-hub-comms", "old")
    begin_in_memory(
        run,
        "mqtt/mcp-hub-comms",
        {"mqtt/mcp-hub-comms": "new", "mqtt-login/mcp-hub-comms": "mcp-hub-comms.b"},
    )
    planned = seen(run, phase)
    for name in ("comms", "second"):
        broker = broker_files(planned.here(name, "mosquitto"))
        files = {file.path: file.text for file in broker.reloaded}
        there = {
            user for user in users(files["/etc/mosquitto/passwords"]) if user.startswith("mcp-hub-comms")
        }
        assert there == accepted
        blocks = {
            block.partition("\n")[0].removeprefix("user "): block.partition("\n")[2]
            for block in files["/etc/mosquitto/acl"].split("\n\n")
        }
        assert {name for name in blocks if name.startswith("mcp-hub-comms")} == accepted
        assert len({blocks[name].strip() for name in accepted}) == 1
    hub = hub_files(Application(planned.here("comms", "mcp_hub"), "the MCP hub", "node"))
    mqtt = json.loads(hub.config.text)["mqtt"]
    assert (mqtt["username"], mqtt["clientId"]) == (used, "mcp-hub-comms"), (
        "its queue at the broker stays its own"
    )
    (secrets,) = hub.reloaded
    assert json.loads(secrets.text)["mqtt"]["password"] == ("old" if used == "mcp-hub-comms" else "new")


@pytest.mark.parametrize(("phase", "hashes"), [("offered", 2), ("switched", 2), ("withdrawn", 1)])
def test_applications_accept_both_tokens(phase: Phase, hashes: int) -> None:
    run = comms()
    for server in ("mcp-hub", "ai-automation"):
        run.secrets.put(f"{server}/token/hearth-verify", "old")
        begin_in_memory(run, f"{server}/token/hearth-verify", {f"{server}/token/hearth-verify": "new"})
    planned = seen(run, phase)
    new, old = (clients.digest(Secret(text)) for text in ("new", "old"))
    both = sorted([old, new])
    wanted: Any = {"offered": both, "switched": both, "withdrawn": new}[phase]
    hub = hub_files(Application(planned.here("comms", "mcp_hub"), "the MCP hub", "node"))
    assert json.loads(hub.config.text)["clients"]["hearth-verify"]["tokenSha256"] == wanted
    application = Application(planned.here("comms", "ai_automation"), "AI automation", "python")
    config = yaml.safe_load(automation_files(application, rule_files(application)).config.text)
    found = {client["name"]: client["token_sha256"] for client in config["clients"]}
    assert found["hearth-verify"] == wanted
    assert len(wanted if isinstance(wanted, list) else [wanted]) == hashes


def test_a_certificate_is_switched_with_its_key_and_for_the_same_names(store: SecretStore) -> None:
    authority = Authority(store)
    old = authority.leaf("comms", ["comms.home.test"], ["192.0.2.1"])
    certificate, key = authority.reissued("comms")
    name = "tls/comms/cert"
    store.put(
        entry_of(name),
        encode(Rotation(name, "offered", {name: Secret(certificate), "tls/comms/key": Secret(key)})),
    )
    for phase, before in zip(PHASES, (True, False, False), strict=True):
        leaf = Authority(StagedSecrets(store, phase)).leaf("comms", ["comms.home.test"], ["192.0.2.1"])
        assert (leaf.cert_pem == old.cert_pem, leaf.key_pem == old.key_pem) == (before, before)
    assert leaf.cert_pem == certificate, "it fits: none is issued besides"


@pytest.mark.parametrize(
    ("states", "reached", "words"),
    [
        ({"comms": "running", "second": "running"}, {"comms", "second", "pve"}, ""),
        ({"comms": "running", "second": "absent"}, {"comms", "second"}, "guest second is absent"),
        ({"comms": "stopped", "second": "running"}, {"comms", "second"}, "guest comms is stopped"),
        ({"comms": "running", "second": "running"}, {"comms"}, "guest second does not answer"),
    ],
)
def test_every_guest_has_to_take_part(states: dict[str, str], reached: set[str], words: str) -> None:
    box = guest("box", 150, appliance=True)
    guests = (guest("comms", 135), guest("second", 136), box)
    assert missing(guests, lambda one: states.get(one.name, "stopped"), reached) == words


# ------------------------------------------------------------- Home Assistant's tokens


@pytest.fixture
def it() -> StandIn:
    return StandIn()


@pytest.fixture
def home(it: StandIn, store: SecretStore) -> Iterator[Home]:
    with serving(it, store) as found:
        for duty in (Onboarded(OWNER, ()), TOKENS):
            duty.mend(found)
        yield found


def settle(home: Home) -> None:
    """What a deploy does about tokens."""
    if TOKENS.missing(home):
        TOKENS.mend(home)
    assert TOKENS.missing(home) == []


def used(store: SecretStore, client: str) -> str:
    return store.get(f"home-assistant/token/{client}").reveal()


def rotate_all(store: SecretStore) -> None:
    for client in CLIENTS:
        name = f"home-assistant/token/{client}"
        begin(store, name, **{name: None})


@pytest.mark.parametrize("again", [1, 2])
def test_new_tokens_are_made_used_and_the_old_ones_revoked(
    it: StandIn, home: Home, store: SecretStore, again: int
) -> None:
    for _ in range(again):
        old = {client: used(store, client) for client in CLIENTS}
        rotate_all(store)
        settle(home)
        assert len(it.tokens) == 2 * len(CLIENTS)
        assert {client: used(store, client) for client in CLIENTS} == old, "not used yet"
        advance(store, "switched")
        settle(home)
        new = {client: used(store, client) for client in CLIENTS}
        assert all(tokens.holds(home.visitor, text) for text in (*old.values(), *new.values()))
        advance(store, "withdrawn")
        settle(home)
        finish(store)
        settle(home)
        assert all(tokens.holds(home.visitor, text) for text in new.values())
        assert not any(tokens.holds(home.visitor, text) for text in old.values())
        assert len(it.tokens) == len(CLIENTS)


@pytest.mark.parametrize("made", [1, 2])
def test_killed_while_they_are_made(
    it: StandIn, home: Home, store: SecretStore, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {client: used(store, client) for client in CLIENTS}
    rotate_all(store)
    real, left = tokens.make, [made]

    def make(session: Client, client: str) -> str:
        text = real(session, client)
        left[0] -= 1
        if not left[0]:
            raise Killed  # it is made, and nobody has kept it
        return text

    with monkeypatch.context() as patched:
        patched.setattr(tokens, "make", make)
        with pytest.raises(Killed):
            TOKENS.mend(home)
    assert all(tokens.holds(home.visitor, text) for text in old.values())
    settle(home)
    for _, phase in pairwise(PHASES):
        advance(store, phase)
        settle(home)
    finish(store)
    settle(home)
    assert len(it.tokens) == len(CLIENTS)
    assert not any(tokens.holds(home.visitor, text) for text in old.values())
    assert all(tokens.holds(home.visitor, used(store, client)) for client in CLIENTS)


def test_an_ordinary_deploy_in_between_makes_no_third_one(
    it: StandIn, home: Home, store: SecretStore
) -> None:
    rotate_all(store)
    for phase in PHASES:
        advance(store, phase)
        settle(home)
        before = dict(it.tokens)
        settle(home)
        assert it.tokens == before


def test_an_old_token_that_was_revoked_already_is_not_made_again(
    it: StandIn, home: Home, store: SecretStore
) -> None:
    rotate_all(store)
    settle(home)
    old = used(store, "mcp-hub-comms")
    advance(store, "switched")
    it.tokens = {key: row for key, row in it.tokens.items() if row["access"] != old}
    assert TOKENS.missing(home) == []

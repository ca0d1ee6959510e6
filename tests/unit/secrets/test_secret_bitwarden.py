"""Secrets that live in Bitwarden: `bw` is a stub here; test_secret_bitwarden_real.py has the real one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_place import Place

from hearth.errors import HearthError
from hearth.secrets import MissingSecretError, Secret, SecretStore
from hearth.secrets.bitwarden import check_reference, parse_items

SERVER = "https://vault.example"
STUB = """#!/bin/sh
echo "$@" >> "$BW_LOG"
state=unlocked; [ "$BW_SESSION" = right ] || state=locked; [ "$BW_SESSION" = nobody ] && state=unauthenticated
case "$2 $3" in
    "status ") printf '{"serverUrl": "https://vault.example/", "status": "%s"}' $state;;
    "sync ") [ ! -e "$BW_LOG.offline" ] || { echo "Syncing failed: ECONNREFUSED" >&2; exit 1; };;
    "list items") cat "$BW_LOG.items";;
    *) exit 2;;
esac
"""
ITEMS = [
    {
        "id": "11",
        "name": "kitchen",
        "notes": "canary\nnotes",
        "login": {"username": "canary-user", "password": "canary-password", "totp": None},
        "fields": [{"name": "pin", "value": "canary-pin"}, {"name": None, "value": "nameless"}],
        "revisionDate": "2026-10-01T08:00:00.000Z",
    },
    {"id": "12", "name": "hearth/mqtt/garden", "login": {"password": "canary-garden"}},
    {"id": "13", "name": "hearth/postgresql/home-assistant", "notes": "canary-database", "secureNote": {}},
    {"id": "14", "name": "hearth/empty", "login": {}},
    {"id": "15", "name": "twice", "login": {"password": "canary-1"}},
    {"id": "16", "name": "twice", "login": {"password": "canary-2"}},
]

Open = Callable[..., SecretStore]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the stub notes how it was called."""
    return tmp_path / "log"


@pytest.fixture
def with_bw(place: Place, tmp_path: Path, log: Path) -> Open:
    """Open the store with the stub in PATH."""
    stub = tmp_path / "bin" / "bw"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    Path(f"{log}.items").write_text(json.dumps(ITEMS))

    def opened(session: str = "right", path: str | None = None, server: str = "") -> SecretStore:
        search = f"{stub.parent}:{os.environ['PATH']}" if path is None else path
        declared = {"HEARTH_BITWARDEN_SERVER": server} if server else {}
        return place.open(PATH=search, BW_SESSION=session, BW_LOG=str(log), **declared)

    return opened


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("bw://kitchen", "canary-password"),
        ("bw://11", "canary-password"),
        ("bw://kitchen#notes", "canary\nnotes"),
        ("bw://kitchen#username", "canary-user"),
        ("bw://kitchen#pin", "canary-pin"),
        ("bw://hearth/postgresql/home-assistant", "canary-database"),
    ],
)
def test_references(with_bw: Open, reference: str, value: str) -> None:
    store = with_bw()
    store.put("x", reference)
    store.save()
    assert with_bw().get("x").reveal() == value


def test_a_declared_vault_has_what_the_file_lacks(with_bw: Open) -> None:
    store = with_bw(server=SERVER)
    store.put("mqtt/kitchen", "of the file")
    assert store.get("mqtt/garden").reveal() == "canary-garden"
    assert store.get("postgresql/home-assistant").reveal() == "canary-database"
    assert store.get("mqtt/kitchen").reveal() == "of the file"
    assert store.ensure("mqtt/garden", lambda: "made").reveal() == "canary-garden"
    assert "mqtt/garden" not in store.unsaved


def test_the_file_can_declare_it_too(with_bw: Open) -> None:
    store = with_bw()
    store.put("bitwarden/server", SERVER)
    store.save()
    assert with_bw().get("mqtt/garden").reveal() == "canary-garden"


def test_the_file_wins_over_the_vault_and_the_environment_over_both(with_bw: Open, place: Place) -> None:
    store = with_bw(server=SERVER)
    store.put("mqtt/garden", "of the file")
    assert store.get("mqtt/garden").reveal() == "of the file"
    assert place.open(PROXMOX_VE_API_TOKEN="env", HEARTH_BITWARDEN_SERVER=SERVER).get("proxmox/token")


def test_what_nobody_has_is_generated_or_missed(with_bw: Open) -> None:
    store = with_bw(server=SERVER)
    assert store.ensure("mqtt/new", lambda: "made").reveal() == "made"
    with pytest.raises(MissingSecretError, match="hearth/proxmox/token"):
        store.get("proxmox/token")


def test_a_vault_that_is_not_declared_is_not_asked(with_bw: Open, log: Path) -> None:
    assert with_bw().find("mqtt/garden") is None
    assert not log.exists()


def test_a_locked_vault_stops_what_would_generate(with_bw: Open) -> None:
    store = with_bw("wrong", server=SERVER)
    with pytest.raises(HearthError, match="BW_SESSION"):
        store.ensure("mqtt/garden", lambda: "made")
    assert store.unsaved == ()


def test_what_the_vault_holds_is_known_with_its_age(with_bw: Open) -> None:
    store = with_bw(server=SERVER)
    store.put("x", "bw://kitchen#pin")
    store.put("mqtt/garden", "of the file")
    found = store.in_vault()
    assert set(found) == {"x", "postgresql/home-assistant", "empty"}
    kitchen = found["x"]
    assert kitchen and kitchen.revised.startswith("2026-10-01")


def test_what_the_vault_holds_without_a_session(with_bw: Open, log: Path) -> None:
    store = with_bw("", server=SERVER)
    store.put("x", "bw://kitchen#pin")
    assert store.in_vault() == {"x": None}
    assert not log.exists()


def test_asked_three_times_a_process_and_without_a_prompt(with_bw: Open, log: Path) -> None:
    store = with_bw(server=SERVER)
    store.put("x", "bw://kitchen")
    for name in ("x", "mqtt/garden", "nothing", "x"):
        store.find(name)
    calls = ["--nointeraction status", "--nointeraction sync", "--nointeraction list items"]
    assert log.read_text().splitlines() == calls


def test_the_file_holds_no_value_and_nothing_shows_one(with_bw: Open) -> None:
    store = with_bw()
    store.put("mqtt/kitchen", "bw://kitchen")
    store.save()
    store.get("mqtt/kitchen")
    assert store.unsaved == ()
    shown = repr(vars(store)) + repr(parse_items(json.dumps(ITEMS)))
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("session", "reference", "words"),
    [
        ("wrong", "bw://kitchen", "BW_SESSION does not open it"),
        ("", "bw://kitchen", "it is locked"),
        ("nobody", "bw://kitchen", "not logged in"),
        ("right", "bw://garden", "no item garden"),
        ("right", "bw://kitchen#card", "no card"),
        ("right", "bw://hearth/empty", "no password"),
        ("right", "bw://twice", "2 items"),
    ],
)
def test_refusals_are_clear(with_bw: Open, session: str, reference: str, words: str) -> None:
    store = with_bw(session)
    store.put("mqtt/kitchen", reference)
    with pytest.raises(HearthError, match=words) as caught:
        store.get("mqtt/kitchen")
    assert "canary" not in str(caught.value)


def test_an_empty_item_is_no_licence_to_generate(with_bw: Open) -> None:
    with pytest.raises(HearthError, match="no password"):
        with_bw(server=SERVER).ensure("empty", lambda: "made")


def test_offline(with_bw: Open, log: Path) -> None:
    Path(f"{log}.offline").touch()
    store = with_bw()
    store.put("x", "bw://kitchen")
    with pytest.raises(HearthError, match="ECONNREFUSED"):
        store.get("x")


def test_another_server(with_bw: Open) -> None:
    with pytest.raises(HearthError, match=r"bw config server https://other\.example"):
        with_bw(server="https://other.example").find("mqtt/garden")


@pytest.mark.parametrize("text", ["", "canary", '{"id": "canary"}', '["canary"]', '[{"id": "canary"}]'])
def test_what_is_no_list_of_items(with_bw: Open, log: Path, text: str) -> None:
    Path(f"{log}.items").write_text(text)
    with pytest.raises(HearthError) as caught:
        with_bw(server=SERVER).find("mqtt/garden")
    assert "canary" not in str(caught.value)


def test_no_bw(with_bw: Open) -> None:
    store = with_bw(path="/nonexistent")
    store.put("mqtt/kitchen", "bw://kitchen")
    with pytest.raises(HearthError, match="no command bw"):
        store.get("mqtt/kitchen")


@pytest.mark.parametrize("text", ["bw://", "bw:// x", "kitchen", "bw://#notes", "bw://kitchen#", "bw://a\nb"])
def test_bad_references(text: str) -> None:
    with pytest.raises(HearthError):
        check_reference(text)


def test_items_have_what_they_have() -> None:
    kitchen = parse_items(json.dumps(ITEMS))[0]
    assert sorted(kitchen.parts) == ["notes", "password", "pin", "username"]
    assert kitchen.value == Secret("canary-password")
    assert kitchen.revised == "2026-10-01T08:00:00.000Z"

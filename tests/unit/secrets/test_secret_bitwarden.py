"""Secrets that live in Bitwarden: `bw` is a stub here that answers as its documentation says."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_place import Place

from hearth.errors import HearthError
from hearth.secrets import SecretStore
from hearth.secrets.bitwarden import check_reference

STUB = """#!/bin/sh
echo "$@" >> "$BW_LOG"
[ "$BW_SESSION" = right ] || { echo "Vault is locked." >&2; exit 1; }
case "$3 $4" in
    "password kitchen") echo canary-password;;
    "notes kitchen") printf 'canary\\nnotes\\n';;
    *) echo "Not found." >&2; exit 1;;
esac
"""

Open = Callable[..., SecretStore]


@pytest.fixture
def with_bw(place: Place, tmp_path: Path) -> Open:
    """Open the store with the stub in PATH."""
    stub = tmp_path / "bin" / "bw"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)

    def opened(session: str = "right", path: str | None = None) -> SecretStore:
        search = f"{stub.parent}:{os.environ['PATH']}" if path is None else path
        return place.open(PATH=search, BW_SESSION=session, BW_LOG=str(tmp_path / "log"))

    return opened


def test_password_and_notes(with_bw: Open) -> None:
    store = with_bw()
    store.put("mqtt/kitchen", "bw://kitchen")
    store.put("notes", "bw://kitchen#notes")
    store.save()
    assert with_bw().get("mqtt/kitchen").reveal() == "canary-password"
    assert with_bw().get("notes").reveal() == "canary\nnotes"


def test_asked_once_a_process_and_without_a_prompt(with_bw: Open, tmp_path: Path) -> None:
    store = with_bw()
    store.put("mqtt/kitchen", "bw://kitchen")
    store.get("mqtt/kitchen")
    store.ensure("mqtt/kitchen", lambda: "unused")
    assert (tmp_path / "log").read_text().splitlines() == ["--nointeraction get password kitchen"]


def test_the_file_holds_no_value(with_bw: Open, place: Place) -> None:
    store = with_bw()
    store.put("mqtt/kitchen", "bw://kitchen")
    store.save()
    store.get("mqtt/kitchen")
    assert store.unsaved == ()
    assert "canary" not in repr(vars(store))


@pytest.mark.parametrize(
    ("session", "reference", "words"),
    [("wrong", "bw://kitchen", "Vault is locked"), ("right", "bw://garden", "Not found")],
)
def test_refusals_are_clear(with_bw: Open, session: str, reference: str, words: str) -> None:
    store = with_bw(session)
    store.put("mqtt/kitchen", reference)
    with pytest.raises(HearthError, match=words) as caught:
        store.get("mqtt/kitchen")
    assert "bw unlock" in str(caught.value)


def test_no_bw(with_bw: Open) -> None:
    store = with_bw(path="/nonexistent")
    store.put("mqtt/kitchen", "bw://kitchen")
    with pytest.raises(HearthError, match="no command bw"):
        store.get("mqtt/kitchen")


@pytest.mark.parametrize("text", ["bw://", "bw://-x", "bw://item#card", "kitchen", "bw://#notes"])
def test_bad_references(text: str) -> None:
    with pytest.raises(HearthError):
        check_reference(text)

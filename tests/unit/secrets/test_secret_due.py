"""What monitoring is told of secrets: when each is to be replaced, and nothing of their values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from hearth.errors import HearthError
from hearth.pki import Authority
from hearth.secrets import SecretStore
from hearth.secrets.due import endings
from hearth.secrets.hashed import bcrypt_hash


def a_store(environ: dict[str, str] | None = None) -> SecretStore:
    return SecretStore(Path("/nonexistent/secrets.age"), Path("/nonexistent/age.key"), environ or {})


def found(store: SecretStore, policy: dict[str, Any] | None = None) -> dict[str, timedelta]:
    now = datetime.now(UTC)
    return {each.secret: each.on - now for each in endings(store, policy or {}, now)}


def test_each_kind_has_its_days_and_the_admins_policy_wins() -> None:
    store = a_store()
    store.put("mqtt/lamp", "x")
    store.put("proxmox/token", "x")
    store.put("ssh/deploy", "x")
    store.put("mqtt-salt/lamp", "x")
    days = {name: round(left / timedelta(days=1)) for name, left in found(store).items()}
    assert days == {"mqtt/lamp": 365, "proxmox/token": 180}
    days = {name: round(left / timedelta(days=1)) for name, left in found(store, {"mqtt/*": 30}).items()}
    assert days["mqtt/lamp"] == 30


def test_the_authority_is_due_by_its_own_end_and_guests_certificates_are_not_told() -> None:
    store = a_store()
    authority = Authority(store)
    authority.leaf("comms", [], [])
    authority.client_leaf("comms")
    assert list(found(store)) == ["ca/cert"]
    assert timedelta(days=365) < found(store)["ca/cert"]


def test_what_comes_from_elsewhere_is_not_told() -> None:
    store = a_store({"PROXMOX_VE_API_TOKEN": "a@b!c=d"})
    store.put("proxmox/token", "x")
    assert found(store) == {}


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(HearthError):
        found(a_store(), {"mqtt/*": -1})


def test_a_hash_is_the_passwords_and_the_same_every_time() -> None:
    store = a_store()
    first = bcrypt_hash(store, "metrics/prometheus")
    assert bcrypt_hash(store, "metrics/prometheus") == first
    assert bcrypt.checkpw(store.get("metrics/prometheus").reveal().encode(), first.encode())
    assert not bcrypt.checkpw(b"wrong", first.encode())
    store.put("metrics/prometheus", "another")
    assert bcrypt.checkpw(b"another", bcrypt_hash(store, "metrics/prometheus").encode())


def test_two_passwords_have_two_salts() -> None:
    store = a_store()
    store.put("a/x", "same")
    store.put("b/x", "same")
    assert bcrypt_hash(store, "a/x") != bcrypt_hash(store, "b/x")


@pytest.mark.parametrize("salt", ["", "short", "x" * 40, "\x00"])
def test_a_damaged_salt_is_said(salt: str) -> None:
    store = a_store()
    store.put("a/x-salt", salt)
    with pytest.raises(HearthError, match="a/x-salt"):
        bcrypt_hash(store, "a/x")

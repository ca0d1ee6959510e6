"""Hashes of passwords that programs keep instead of the passwords."""

from __future__ import annotations

import base64
import secrets

import bcrypt

from hearth.errors import HearthError
from hearth.secrets.generators import password
from hearth.secrets.store import SecretStore

COST = 10  # 2**10 rounds; what the passwords lack in rounds they have in length (190 bits)
SALT_BYTES = 16


def bcrypt_hash(store: SecretStore, name: str) -> str:
    """The bcrypt hash (`$2b$...`) of the password that a secret holds; the same on every run.

    Args:
        store: where the password is; generated where it is missing, as is its salt `NAME-salt`.
        name: the secret's name.

    Raises:
        HearthError: the stored salt is damaged, or the password is longer than bcrypt's 72 bytes.
    """
    secret = store.ensure(name, password).reveal().encode()
    salt = store.ensure(f"{name}-salt", lambda: base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode())
    try:
        raw = base64.b64decode(salt.reveal(), validate=True)
        return bcrypt.hashpw(secret, _salt(raw)).decode()
    except ValueError as error:
        raise HearthError(
            f"hash the password {name}", str(error), f"hearth secrets remove {name}-salt"
        ) from None


def _salt(raw: bytes) -> bytes:
    """Sixteen bytes as bcrypt writes them: base64 with an alphabet of its own, without padding."""
    if len(raw) != SALT_BYTES:
        raise ValueError("the salt is damaged")
    usual = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    own = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    text = base64.b64encode(raw).rstrip(b"=").translate(bytes.maketrans(usual, own))
    return b"$2b$%02d$" % COST + text

"""PostgreSQL's password verifiers, the same for the same password: a second run changes nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from hearth.errors import HearthError
from hearth.role.databases import secret_of
from hearth.secrets import Secret, SecretStore, password

SALT_BYTES = 16  # SCRAM_DEFAULT_SALT_LEN, PostgreSQL's src/include/common/scram-common.h
ITERATIONS = 4096  # SCRAM_DEFAULT_ITERATIONS, same file


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What `pg_authid.rolpassword` holds: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`.

    RFC 5802, 3; the form: PostgreSQL's manual, 53.8 (pg_authid).

    Args:
        password: printable ASCII; SASLprep (RFC 4013) leaves that as it is.
        salt: any bytes; PostgreSQL itself takes 16.
        iterations: at least 1.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


def scram_user(store: SecretStore, user: str) -> Secret:
    """The verifier of a user's password; password and salt are generated where they are missing.

    Raises:
        HearthError: the password is not printable ASCII, or the stored salt is damaged.
    """
    name = secret_of(user)
    given = store.ensure(name, password).reveal()
    if not (given.isascii() and given.isprintable() and given):
        raise HearthError(
            f"use the secret {name}",
            "it is not printable ASCII",
            f"hearth secrets set {name} with another one",
        )
    salt_name = name.replace("/", "-salt/", 1)
    salt = store.ensure(salt_name, lambda: base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode())
    try:
        return Secret(scram_verifier(given, base64.b64decode(salt.reveal(), validate=True)))
    except ValueError:
        raise HearthError(
            f"hash the secret {name}", "its stored salt is damaged", f"hearth secrets remove {salt_name}"
        ) from None

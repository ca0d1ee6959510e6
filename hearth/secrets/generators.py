"""What Hearth generates: passwords, SSH keys, and Mosquitto's password hashes."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from hearth.errors import HearthError
from hearth.secrets.rotation import accepted_beside
from hearth.secrets.store import SecretStore
from hearth.secrets.value import Secret

ALPHABET = string.ascii_letters + string.digits  # survives every quoting; 5.95 bits a character
READABLE = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that looks like something else: no l, o, 0, 1
SALT_BYTES = 12  # SALT_LEN, mosquitto 2.0 src/password_mosq.h; the broker refuses any other length
ITERATIONS = 101  # PW_DEFAULT_ITERATIONS, same file
HASH_BYTES = 64


def password(length: int = 32) -> str:
    """A random password of letters and digits (32 characters: 190 bits)."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def passphrase() -> str:
    """A random passphrase for people to type: four groups of five (20 characters: 100 bits)."""
    groups = ("".join(secrets.choice(READABLE) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def ssh_key() -> str:
    """A new ed25519 private key in OpenSSH's text form (openssh-key-v1), without a passphrase."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")


def ssh_public_key(private: Secret, comment: str = "hearth") -> str:
    """The public line (`ssh-ed25519 AAAA... comment`) of a private key in OpenSSH's text form.

    Raises:
        HearthError: the text is no such key.
    """
    try:
        key = load_ssh_private_key(private.reveal().encode(), password=None)
    except (ValueError, TypeError):
        raise HearthError(
            "read an SSH private key", "it is not in OpenSSH's form, or has a passphrase"
        ) from None
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    return f"{line} {comment}"


def ensure_ssh_key(store: SecretStore, name: str) -> tuple[Secret, str]:
    """The key `ssh/<name>`, generated where missing: private text, and public line (`hearth-<name>`)."""
    private = store.ensure(f"ssh/{name}", ssh_key)
    return private, ssh_public_key(private, f"hearth-{name}")


def mosquitto_hash(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The password's hash as a Mosquitto 2 password file has it after `USER:`.

    `$7$ITERATIONS$SALT$HASH`: PBKDF2-HMAC-SHA512, 64 bytes, both base64 with padding
    (mosquitto 2.0 src/password_mosq.c pw__hash, src/security_default.c unpwd__decode_passwords).

    Args:
        password: the password.
        salt: exactly 12 bytes.
        iterations: at least 1.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt must have {SALT_BYTES} bytes")
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, HASH_BYTES)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


@dataclass(frozen=True)
class MqttUser:
    """A login at the broker: `hash` is what stands in its password file after `name:`."""

    name: str
    password: Secret
    hash: Secret


def mqtt_user(store: SecretStore, name: str) -> MqttUser:
    """The login that a user of the broker uses: password `mqtt/<name>`, salt `mqtt-salt/<name>`.

    Both are generated where they are missing. The salt is stored, so the hash changes only with the password.
    A service's login has another name than the user after a rotation: `mqtt-login/<name>`.

    Raises:
        HearthError: the stored salt is not 12 bytes in base64.
    """
    secret = store.ensure(f"mqtt/{name}", password)
    login = store.find(f"mqtt-login/{name}")
    return MqttUser(login.reveal() if login else name, secret, _hashed(store, name, secret))


def mqtt_logins(store: SecretStore, name: str) -> tuple[MqttUser, ...]:
    """Every login that the broker accepts for a user: two while it is rotated, the used one first.

    Raises:
        HearthError: the stored salt is damaged, or what was kept of the rotation.
    """
    used = mqtt_user(store, name)
    beside = accepted_beside(store.find, f"mqtt/{name}")
    secret, login = beside.get(f"mqtt/{name}"), beside.get(f"mqtt-login/{name}")
    other = login.reveal() if login else name
    if secret is None or other == used.name:  # a password file has one password a name
        return (used,)
    return (used, MqttUser(other, secret, _hashed(store, name, secret)))


def _hashed(store: SecretStore, name: str, secret: Secret) -> Secret:
    stored = store.ensure(
        f"mqtt-salt/{name}", lambda: base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode("ascii")
    )
    try:
        salt = base64.b64decode(stored.reveal(), validate=True)
        return Secret(mosquitto_hash(secret.reveal(), salt))
    except ValueError:
        raise HearthError(
            f"hash the MQTT password of {name}",
            "its stored salt is damaged",
            f"hearth secrets remove mqtt-salt/{name}",
        ) from None

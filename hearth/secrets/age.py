"""age encryption through pyrage, in our own types: keys are text, private ones are `Secret`.

Format: https://github.com/C2SP/C2SP/blob/main/age.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyrage  # type: ignore[import-untyped]

from hearth.errors import HearthError
from hearth.secrets.value import Secret


class AgeError(Exception):
    """Data that could not be decrypted; `foreign` when it is sound but meant for other identities."""

    def __init__(self, reason: str, foreign: bool) -> None:
        super().__init__(reason)
        self.foreign = foreign


def generate_identity() -> Secret:
    """A new identity (`AGE-SECRET-KEY-1...`)."""
    return Secret(str(pyrage.x25519.Identity.generate()))


def is_identity(text: str) -> bool:
    """True when the text is an X25519 identity."""
    try:
        pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        return False
    return True


def recipient_of(identity: Secret) -> str:
    """The identity's public key (`age1...`)."""
    return str(pyrage.x25519.Identity.from_str(identity.reveal()).to_public())


def check_recipient(text: str) -> str:
    """The recipient in its normal form.

    Raises:
        HearthError: it is no age public key.
    """
    try:
        return str(pyrage.x25519.Recipient.from_str(text.strip()))
    except pyrage.RecipientError:
        remedy = "age-keygen -y FILE prints one: age1..."
        raise HearthError("add a recipient", f"{text.strip()[:80]!r} is no age public key", remedy) from None


def encrypt(plain: bytes, recipients: Iterable[str]) -> bytes:
    """Encrypt for all recipients (each once); returns ASCII-armoured age."""
    keys = [pyrage.x25519.Recipient.from_str(text) for text in dict.fromkeys(recipients)]
    return bytes(pyrage.encrypt(plain, keys, armored=True))


def decrypt(data: bytes, identities: Iterable[Secret]) -> bytes:
    """Decrypt, armoured or not.

    Raises:
        AgeError: it is damaged, or no identity fits.
    """
    keys = [pyrage.x25519.Identity.from_str(identity.reveal()) for identity in identities]
    try:
        return bytes(pyrage.decrypt(data, keys))
    except pyrage.DecryptError as error:
        raise AgeError(str(error), foreign="No matching keys" in str(error)) from None


def encrypt_with_passphrase(plain: bytes, passphrase: Secret) -> bytes:
    """Encrypt for whoever knows the passphrase (scrypt); returns ASCII-armoured age."""
    return bytes(pyrage.passphrase.encrypt(plain, passphrase.reveal(), armored=True))


def decrypt_with_passphrase(data: bytes, passphrase: Secret) -> bytes:
    """Decrypt what `encrypt_with_passphrase` made.

    Raises:
        AgeError: it is damaged, or the passphrase is another.
    """
    try:
        return bytes(pyrage.passphrase.decrypt(data, passphrase.reveal()))
    except pyrage.DecryptError as error:
        raise AgeError(str(error), foreign=False) from None

"""What the secrets file holds, and how it becomes ciphertext and back.

The file is ASCII-armoured age; inside is JSON: recipients, and name -> value and time of creation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hearth.errors import HearthError
from hearth.secrets import age
from hearth.secrets.value import Secret

VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*)*")


@dataclass(frozen=True)
class Entry:
    """One secret: its value and when it was made (ISO 8601, UTC)."""

    value: Secret
    created: str


@dataclass(frozen=True)
class Document:
    """The content of a secrets file."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()


def check_name(name: str) -> str:
    """Return the name if it is one: words of letters, digits and `._@-`, parted by `/`.

    Raises:
        HearthError: it is not.
    """
    if not NAME.fullmatch(name):
        raise HearthError(
            f"use {name!r} as a secret's name", "it has characters that no name has", "e.g. mqtt/kitchen"
        )
    return name


def encrypt(document: Document) -> bytes:
    """Encrypt for the document's recipients (`age1...`); returns armoured age."""
    body = {
        "version": VERSION,
        "recipients": list(document.recipients),
        "secrets": {
            name: {"value": entry.value.reveal(), "created": entry.created}
            for name, entry in sorted(document.entries.items())
        },
    }
    return age.encrypt(json.dumps(body, indent=1).encode(), document.recipients)


def decrypt(path: Path, data: bytes, identities: Iterable[Secret], identity_file: Path) -> Document:
    """Decrypt and parse.

    Args:
        path: where the data comes from, for messages.
        data: the file's content.
        identities: our private keys.
        identity_file: where they come from, for messages.

    Raises:
        HearthError: none of the identities fits, or the file is damaged.
    """
    action = f"open the secrets file {path}"
    try:
        plain = age.decrypt(data, identities)
    except age.AgeError as error:
        if not error.foreign:
            remedy = f"git checkout -- {path}, or restore a backup"
            raise HearthError(action, f"it is damaged: {error}", remedy) from None
        raise HearthError(
            action,
            f"it is not encrypted for the identity in {identity_file}",
            "name the right identity in HEARTH_AGE_KEY_FILE, or have a holder of the file add yours: "
            "hearth secrets recipients add age1...",
        ) from None
    return _parse(action, path, plain)


def _parse(action: str, path: Path, plain: bytes) -> Document:
    try:
        body = json.loads(plain)
        version = body["version"]
        if version == VERSION:
            entries = {
                str(name): Entry(Secret(_text(item["value"])), _text(item["created"]))
                for name, item in body["secrets"].items()
            }
            return Document(entries, tuple(_text(recipient) for recipient in body["recipients"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        # No cause: a parser's message quotes what it could not parse.
        raise HearthError(
            action, "its content is not what Hearth writes", f"git checkout -- {path}"
        ) from None
    raise HearthError(action, f"it has version {version!r}", "a newer Hearth wrote it: update this one")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value

"""What the house needs to log in at the broker: it waits, as a device on a shelf waits for its admin."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from hearth.secrets import Secret, SecretStore
from twin.devices.house.entities import NAME


@dataclass(frozen=True)
class Login:
    """User name and password, and the fleet's CA."""

    password: Secret
    ca: str = field(repr=False)

    def tls(self) -> ssl.SSLContext:
        """Verifies the broker's certificate and address against the fleet's CA alone."""
        return ssl.create_default_context(cadata=self.ca)


def find(secrets: Path, identity: Path) -> Login | None:
    """The login, None while there is none.

    Args:
        secrets: the encrypted file of secrets.
        identity: the age identity that opens it.

    Raises:
        HearthError: the file is there and cannot be opened.
    """
    if not (secrets.exists() and identity.exists()):
        return None
    store = SecretStore(secrets, identity)
    password, ca = store.find(f"mqtt/{NAME}"), store.find("ca/cert")
    return Login(password, ca.reveal()) if password and ca else None

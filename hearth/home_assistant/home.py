"""One Home Assistant and what we keep about it: its tokens, and prints of what it was told."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, Protocol

from hearth.home_assistant.client import Client, Place
from hearth.home_assistant.tokens import Second
from hearth.role.tokens import DEPLOYER, token_name
from hearth.secrets import Secret
from hearth.secrets.rotation import decode, encode, entry_of


class Store(Protocol):
    """What is used of `hearth.secrets.SecretStore`."""

    def find(self, name: str, /) -> Secret | None: ...
    def put(self, name: str, value: str, /) -> Secret: ...
    def remove(self, name: str, /) -> None: ...
    def save(self) -> bool: ...


def print_of(content: Any) -> str:
    """A digest of what Home Assistant was told; what it then has cannot be read back (passwords)."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class Home:
    """A Home Assistant, with the run's own access to it.

    Args:
        place: where it answers.
        secrets: where tokens and prints are kept.
    """

    def __init__(self, place: Place, secrets: Store) -> None:
        self.place = place
        self.secrets = secrets
        self._visitor = Client(place)
        self._deployer: tuple[str, Client] | None = None

    def close(self) -> None:
        """Hang up."""
        self._visitor.close()
        if self._deployer:
            self._deployer[1].close()
        self._deployer = None

    @property
    def visitor(self) -> Client:
        """Without a token."""
        return self._visitor

    @property
    def deployer(self) -> Client | None:
        """With the run's own token; None where there is none yet. Whether it holds is not asked."""
        found = self.secrets.find(token_name(DEPLOYER))
        if found is None:
            return None
        token = found.reveal()
        if self._deployer is None or self._deployer[0] != token:
            if self._deployer:
                self._deployer[1].close()
            self._deployer = token, self._visitor.with_token(token)
        return self._deployer[1]

    def token(self, client: str) -> str | None:
        """A client's token, where we keep one."""
        found = self.secrets.find(token_name(client))
        return found.reveal() if found else None

    def keep_token(self, client: str, token: str) -> None:
        """Keep a token, on disk, at once: it is shown only this once."""
        self.secrets.put(token_name(client), token)
        self.secrets.save()

    def second(self, client: str) -> Second | None:
        """A client's other token, while it is rotated."""
        name = token_name(client)
        kept = self.secrets.find(entry_of(name))
        if kept is None:
            return None
        rotation = decode(name, kept)
        other = rotation.other.get(name)
        return Second(other.reveal() if other else None, rotation.phase)

    def keep_second(self, client: str, token: str) -> None:
        """Keep a client's next token, on disk, at once."""
        name = token_name(client)
        kept = self.secrets.find(entry_of(name))
        if kept is not None:
            rotation = replace(decode(name, kept), other={name: Secret(token)})
            self.secrets.put(entry_of(name), encode(rotation))
            self.secrets.save()

    def forget_token(self, client: str) -> None:
        """Keep a client's token no longer."""
        self.secrets.remove(token_name(client))
        self.secrets.save()

    def told(self, what: str) -> str | None:
        """The print of what Home Assistant was last told about something."""
        found = self.secrets.find(_told(what))
        return found.reveal() if found else None

    def tell(self, what: str, fingerprint: str) -> None:
        """Keep the print, on disk, at once."""
        self.secrets.put(_told(what), fingerprint)
        self.secrets.save()

    def untell(self, what: str) -> None:
        """Forget the print, on disk, at once."""
        self.secrets.remove(_told(what))
        self.secrets.save()


def _told(what: str) -> str:
    return f"home-assistant/told/{what.replace('_', '-')}"

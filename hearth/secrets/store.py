"""The store of secrets: an age-encrypted file, the environment before it, a vault behind it where declared.

Nothing is read before a secret is asked for, and nothing is written before `save()`: a dry run keeps
what it generates in memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from hearth.durable import locked, write_durably
from hearth.errors import HearthError
from hearth.secrets.age import check_recipient, recipient_of
from hearth.secrets.bitwarden import FOLDER, SERVER, Item, Vault, is_reference
from hearth.secrets.changes import Changes
from hearth.secrets.document import Document, Entry, check_name, decrypt, encrypt
from hearth.secrets.identity import read_identities, write_identity
from hearth.secrets.value import Secret

# The names that the ecosystem already uses (the Terraform provider bpg/proxmox, tailscale/tailscale).
ENVIRONMENT = {
    "proxmox/token": "PROXMOX_VE_API_TOKEN",
    "tailscale/oauth-client-id": "TAILSCALE_OAUTH_CLIENT_ID",
    "tailscale/oauth-client-secret": "TAILSCALE_OAUTH_CLIENT_SECRET",
    "tailscale/api-key": "TAILSCALE_API_KEY",
    "bitwarden/server": SERVER,
}
VAULT = "bitwarden/server"  # where this is set, that server is a source; no secret, but it goes with the file
OURS = (VAULT, "rotating/", "mqtt-login/", "home-assistant/told/")  # what only Hearth itself writes
DEFAULT_FILE = Path("inventory/secrets.age")
DEFAULT_IDENTITY = Path("~/.config/hearth/age.key")

log = logging.getLogger("hearth.secrets")


class MissingSecretError(HearthError):
    """A secret that no source has."""


def _now() -> datetime:
    return datetime.now(UTC)


class SecretStore:
    """Secrets by name.

    Args:
        path: the encrypted file; may be absent.
        identity_file: the age identity that opens it; may be absent while `path` is.
        environ: environment variables; they win over the file and are never written to it. `bw` gets them.
        clock: the time, UTC.
        notify: told one line when a new identity was generated.
    """

    def __init__(
        self,
        path: Path,
        identity_file: Path,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = _now,
        notify: Callable[[str], None] = log.warning,
    ) -> None:
        self.path = path
        self.identity_file = identity_file
        self._environ = environ or {}
        self._clock = clock
        self._notify = notify
        self._loaded: Document | None = None
        self._changes = Changes()
        self._vault = Vault(self._environ)

    def __repr__(self) -> str:
        return f"SecretStore({str(self.path)!r})"

    @classmethod
    def from_environment(
        cls,
        project: Path,
        environ: Mapping[str, str] | None = None,
        notify: Callable[[str], None] = log.warning,
    ) -> SecretStore:
        """The project's store, as HEARTH_SECRETS and HEARTH_AGE_KEY_FILE have it.

        Args:
            project: the project's directory; a relative HEARTH_SECRETS is relative to it.
            environ: environment variables; None: the process's.
            notify: see `SecretStore`.
        """
        given = os.environ if environ is None else environ
        path = project / (given.get("HEARTH_SECRETS") or DEFAULT_FILE)
        identity = Path(given.get("HEARTH_AGE_KEY_FILE") or DEFAULT_IDENTITY).expanduser()
        return cls(path, identity, given, notify=notify)

    # ------------------------------------------------------------------ reading

    def find(self, name: str) -> Secret | None:
        """The secret, or None where there is none: from the environment, the file, the vault, in this order.

        Raises:
            HearthError: the file cannot be opened, or the vault is needed and cannot be asked.
        """
        override = self._environ.get(ENVIRONMENT.get(name, ""))
        if override:
            return Secret(override)
        entry = self._entries().get(name)
        if entry is None:
            item = self._in_vault(name)
            return item.value if item else None
        return self._fetched(name, entry.value) if is_reference(entry.value) else entry.value

    def get(self, name: str) -> Secret:
        """The secret.

        Raises:
            MissingSecretError: there is none.
            HearthError: the file cannot be opened.
        """
        secret = self.find(name)
        if secret is None:
            variable = ENVIRONMENT.get(name)
            remedy = f"hearth secrets set {name}" + (f", or set {variable}" if variable else "")
            vault = f", nor is there an item {FOLDER}{name} in Bitwarden" if self._server() else ""
            raise MissingSecretError(f"find the secret {name}", f"it is not in {self.path}{vault}", remedy)
        return secret

    def names(self) -> tuple[str, ...]:
        """The names in the file and of what waits to be saved, sorted."""
        return tuple(sorted(self._entries()))

    def stored(self, name: str) -> Secret:
        """What the file itself holds: the value, or the reference to Bitwarden. Raises KeyError."""
        return self._entries()[name].value

    def created(self, name: str) -> str | None:
        """When the secret in the file was made (ISO 8601, UTC); None where there is none."""
        entry = self._entries().get(name)
        return entry.created if entry else None

    def overridden(self, name: str) -> str | None:
        """The environment variable that stands before this secret now, or None."""
        variable = ENVIRONMENT.get(name)
        return variable if variable and self._environ.get(variable) else None

    def in_vault(self) -> dict[str, Item | None]:
        """The secrets that Bitwarden holds, by name, as far as can be known without unlocking it.

        Returns:
            Those that the file refers to, and those named `hearth/NAME` in a declared vault; without
            BW_SESSION only the former, without their items.

        Raises:
            HearthError: the vault cannot be asked.
        """
        entries = self._entries()
        referred = {name: entry.value for name, entry in entries.items() if is_reference(entry.value)}
        if not self._environ.get("BW_SESSION"):
            return dict.fromkeys(referred)
        server = self._server()
        there = self._vault.named(server) if server else {}
        named = {name: item for name, item in there.items() if name not in entries}
        return {**named, **{name: self._vault.held(value, server) for name, value in referred.items()}}

    @property
    def recipients(self) -> tuple[str, ...]:
        """The age public keys that the file is encrypted for; `save()` adds our own."""
        if self._changes.recipients is not None:
            return self._changes.recipients
        return self._document().recipients

    @property
    def unsaved(self) -> tuple[str, ...]:
        """Names that `save()` would write or remove, sorted."""
        return self._changes.names

    # ----------------------------------------------------------------- changing

    def ensure(self, name: str, generate: Callable[[], str]) -> Secret:
        """The secret; generated, and kept in memory until `save()`, where there is none."""
        found = self.find(name)
        if found is not None:
            return found
        entry = self._entry(generate())
        self._changes.removed.discard(check_name(name))
        self._changes.generated[name] = entry
        return entry.value

    def put(self, name: str, value: str) -> Secret:
        """Set the secret whatever it was; in memory until `save()`."""
        check_name(name)
        entry = self._entry(value)
        self._changes.generated.pop(name, None)
        self._changes.removed.discard(name)
        self._changes.put[name] = entry
        return entry.value

    def remove(self, name: str) -> None:
        """Remove the secret, in memory until `save()`; nothing happens where there is none."""
        self._changes.generated.pop(name, None)
        self._changes.put.pop(name, None)
        if name in self._document().entries:
            self._changes.removed.add(name)

    def set_recipients(self, recipients: tuple[str, ...]) -> None:
        """Replace the recipients (`age1...`), in memory until `save()`, which adds our own identity's.

        Raises:
            HearthError: one is no age public key.
        """
        self._changes.recipients = tuple(dict.fromkeys(check_recipient(text) for text in recipients))

    def save(self) -> bool:
        """Write what is new, if anything is: atomically, merged with what others wrote meanwhile.

        Returns:
            True when the file was written.

        Raises:
            HearthError: the file or the identity cannot be read or written; or another run has meanwhile
                generated a secret that this one had generated too (nothing is written then).
        """
        if not self._changes:
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.parent):
                self._write()
        except OSError as error:
            raise HearthError(f"write the secrets file {self.path}", error.strerror or str(error)) from None
        return True

    # ----------------------------------------------------------------- internal

    def _fetched(self, name: str, reference: Secret) -> Secret:
        return self._vault.resolve(name, reference, self._server())

    def _in_vault(self, name: str) -> Item | None:
        server = None if name.startswith(OURS) else self._server()
        return self._vault.look_up(name, server) if server else None

    def _server(self) -> str | None:
        found = self.find(VAULT)
        return found.reveal() if found else None

    def _entry(self, value: str) -> Entry:
        return Entry(Secret(value), self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"))

    def _document(self) -> Document:
        if self._loaded is None:
            self._loaded = self._read()
        return self._loaded

    def _entries(self) -> dict[str, Entry]:
        return self._changes.over(self._document().entries)

    def _read(self) -> Document:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Document()
        except OSError as error:
            raise HearthError(f"open the secrets file {self.path}", error.strerror or str(error)) from None
        return decrypt(self.path, data, read_identities(self.identity_file), self.identity_file)

    def _write(self) -> None:
        """Merge and write, the lock being held."""
        current = self._read()
        clash = sorted(
            name
            for name, entry in self._changes.generated.items()
            if name in current.entries and current.entries[name].value != entry.value
        )
        if clash:
            raise HearthError(
                f"save the secrets {', '.join(clash)} to {self.path}",
                "another run has generated them since this one began",
                "run the command again: it will use the other run's",
            )
        own = [recipient_of(identity) for identity in self._identities()]
        merged = self._changes.merged(current, own)
        write_durably(self.path, encrypt(merged))
        self._loaded, self._changes = merged, Changes()

    def _identities(self) -> tuple[Secret, ...]:
        if self.identity_file.exists():
            return read_identities(self.identity_file)
        identity = write_identity(self.identity_file, self._clock())
        self._notify(
            f"a new age identity is in {self.identity_file}: back it up now, on paper or on another machine; "
            f"without it {self.path} cannot be opened"
        )
        return (identity,)

"""Secrets that live in Bitwarden or Vaultwarden, fetched by their `bw` CLI.

Two ways lead there. The secrets file holds `bw://ITEM` (the item's password) or `bw://ITEM#PART` in place of
a value; or, where the vault is declared as a source, what the file lacks is looked for in an item named
`hearth/<secret's name>`. An item is named exactly, or by its id.

`bw` keeps an encrypted copy of the vault. A run asks it three times, when the first secret is needed: whether
it is unlocked (and which server it is set to), to bring its copy up to date, and for all items; they are kept
in this process's memory. `bw` is unlocked beforehand: `export BW_SESSION=$(bw unlock --raw)`
(https://bitwarden.com/help/cli/).
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hearth.errors import HearthError
from hearth.secrets.value import Secret

SCHEME = "bw://"
FOLDER = "hearth/"  # before a secret's name: the item that holds it
PASSWORD, NOTES = "password", "notes"
LOGIN_PARTS = ("username", PASSWORD, "totp")
SERVER = "HEARTH_BITWARDEN_SERVER"
TIMEOUT = 60.0  # seconds; bw is slow to start, and synchronises
UNLOCK = "export BW_SESSION=$(bw unlock --raw)"


@dataclass(frozen=True)
class Item:
    """An item of the vault.

    Args:
        id: its id there.
        name: its name there.
        parts: the texts that it has: `username`, `password`, `totp`, `notes`, and its custom fields by name.
        revised: when it was last changed (ISO 8601, UTC).
    """

    id: str
    name: str
    parts: Mapping[str, Secret] = field(repr=False)
    revised: str

    @property
    def value(self) -> Secret | None:
        """What the item holds where no part is named: its password; the notes of one without."""
        return self.parts.get(PASSWORD) or self.parts.get(NOTES)


def is_reference(value: Secret) -> bool:
    """True when the value only says where the secret is."""
    return value.reveal().startswith(SCHEME)


def check_reference(text: str) -> str:
    """Return a reference if it is one.

    Raises:
        HearthError: it names no item, or an empty part.
    """
    item, sign, part = text.removeprefix(SCHEME).partition("#")
    named = item and item == item.strip() and part == part.strip() and bool(part) == bool(sign)
    if not text.startswith(SCHEME) or not named or not text.isprintable():
        raise HearthError(
            f"use {text!r} as a reference", "it names nothing in Bitwarden", "bw://ITEM or bw://ITEM#notes"
        )
    return text


def parse_items(text: str) -> tuple[Item, ...]:
    """The items that `bw list items` prints.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return tuple(_item(entry) for entry in json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError):
        # No cause: it would quote what could not be parsed.
        raise ValueError("bw printed something else than a list of items") from None


def _item(entry: Mapping[str, Any]) -> Item:
    login = entry.get("login") or {}
    texts = {str(row["name"]): row.get("value") for row in entry.get("fields") or () if row.get("name")}
    texts |= {NOTES: entry.get("notes"), **{part: login.get(part) for part in LOGIN_PARTS}}
    parts = {name: Secret(str(value)) for name, value in texts.items() if value}
    return Item(str(entry["id"]), str(entry["name"]), parts, str(entry.get("revisionDate") or ""))


class Vault:
    """One vault, as `bw` on this machine reaches it.

    Args:
        environ: PATH, BW_SESSION, BITWARDENCLI_APPDATA_DIR, NODE_EXTRA_CA_CERTS... reach `bw` from here.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._items: tuple[Item, ...] | None = None
        self._lock = threading.Lock()  # hosts are prepared side by side; one of them asks

    def __repr__(self) -> str:
        return "Vault()"

    def resolve(self, name: str, reference: Secret, server: str | None) -> Secret:
        """What a reference points to.

        Args:
            name: the secret's name, for messages.
            reference: `bw://ITEM` or `bw://ITEM#PART`.
            server: the server that `bw` must be set to; None: whichever.

        Raises:
            HearthError: `bw` cannot be asked, the item is not there or not alone, or lacks the part.
        """
        ident, _, part = check_reference(reference.reveal()).removeprefix(SCHEME).partition("#")
        action = f"fetch the secret {name} from Bitwarden"
        item = self._named(action, ident, server)
        if item is None:
            raise HearthError(
                action, f"it has no item {ident}", "bw list items --search TEXT shows what it has"
            )
        found = item.parts.get(part) if part else item.value
        if found is None:
            raise HearthError(
                action,
                f"its item {ident} has no {part or PASSWORD}",
                f"it has: {', '.join(sorted(item.parts)) or 'nothing'}",
            )
        return found

    def look_up(self, name: str, server: str) -> Item | None:
        """The item `hearth/<name>`; None where there is none.

        Raises:
            HearthError: `bw` cannot be asked, there are several, or it is empty.
        """
        action = f"look for the secret {name} in Bitwarden"
        item = self._named(action, FOLDER + name, server)
        if item is not None and item.value is None:
            raise HearthError(action, f"its item {item.name} has no password and no notes", "set one there")
        return item

    def held(self, reference: Secret, server: str | None) -> Item | None:
        """The item that a reference names; None where there is none. Raises HearthError."""
        ident = reference.reveal().removeprefix(SCHEME).partition("#")[0]
        return self._named("look into Bitwarden", ident, server)

    def named(self, server: str) -> dict[str, Item]:
        """Every item `hearth/NAME` by that name. Raises HearthError where `bw` cannot be asked."""
        items = self._all("look into Bitwarden", server)
        return {item.name.removeprefix(FOLDER): item for item in items if item.name.startswith(FOLDER)}

    def _named(self, action: str, ident: str, server: str | None) -> Item | None:
        found = [item for item in self._all(action, server) if ident in (item.id, item.name)]
        if len(found) > 1:
            raise HearthError(
                action, f"it has {len(found)} items {ident}", "rename all but one, or name it by its id"
            )
        return found[0] if found else None

    def _all(self, action: str, server: str | None) -> tuple[Item, ...]:
        with self._lock:
            if self._items is None:
                self._items = self._ask(action, server)
            return self._items

    def _ask(self, action: str, server: str | None) -> tuple[Item, ...]:
        self._check(action, server)
        self._bw(action, "sync")
        try:
            return parse_items(self._bw(action, "list", "items"))
        except ValueError as error:
            raise HearthError(action, str(error), "bw list items") from None

    def _check(self, action: str, server: str | None) -> None:
        try:
            told = json.loads(self._bw(action, "status"))
            state, there = told["status"], told.get("serverUrl") or "https://vault.bitwarden.com"
        except (KeyError, TypeError, ValueError):
            raise HearthError(action, "bw does not say in what state it is", "bw status") from None
        if server and there.rstrip("/") != server.rstrip("/"):
            remedy = f"bw logout; bw config server {server}; bw login"
            raise HearthError(action, f"bw is set to the server {there}", remedy)
        if state == "unauthenticated":
            raise HearthError(action, "bw is not logged in", f"bw login; {UNLOCK}")
        if state != "unlocked":
            given = bool(self._environ.get("BW_SESSION"))
            why = "BW_SESSION does not open it (any more)" if given else "it is locked"
            raise HearthError(action, why, UNLOCK)

    def _bw(self, action: str, *words: str) -> str:
        """Run `bw` with words that are no secrets: everybody sees them in ps."""
        try:
            done = subprocess.run(
                ["bw", "--nointeraction", *words],
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except FileNotFoundError:
            raise HearthError(action, "there is no command bw", "npm install -g @bitwarden/cli") from None
        except OSError as error:
            raise HearthError(action, f"bw does not start: {error.strerror}", "bw status") from None
        except subprocess.TimeoutExpired:
            raise HearthError(action, f"bw {words[0]} took over {TIMEOUT:.0f} s", "bw status") from None
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"it ended with {done.returncode}"
            raise HearthError(action, f"bw {words[0]} failed: {why}", "can this machine reach the server?")
        return done.stdout.decode(errors="replace")

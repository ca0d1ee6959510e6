"""Secrets as they will be in a later phase of the rotations under way: that phase is planned with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hearth.secrets.document import Document, Entry
from hearth.secrets.rotation import ROTATING, Phase, decode, encode, entry_of, moved
from hearth.secrets.store import SecretStore
from hearth.secrets.value import Secret


class StagedSecrets(SecretStore):
    """The store's secrets, every rotation moved on to a phase; what is generated or put goes to the store.

    Args:
        base: the store.
        phase: the phase; a rotation that is past it stays where it is.
    """

    def __init__(self, base: SecretStore, phase: Phase) -> None:
        self._base = base
        self._phase = phase

    def __getattr__(self, name: str) -> Any:
        if name == "_base":  # a copy under way: it has nothing yet
            raise AttributeError(name)
        return getattr(self._base, name)

    def __repr__(self) -> str:
        return f"StagedSecrets({self._base!r}, {self._phase!r})"

    def save(self) -> bool:
        """Write what is new in the store; see there."""
        return self._base.save()

    def _document(self) -> Document:
        return self._base._document()

    def _entries(self) -> dict[str, Entry]:
        return staged(self._base._entries(), self._phase)


def rotations(names: Iterable[str]) -> list[str]:
    """The names of the secrets that are being rotated, among all names of the file, sorted."""
    return sorted(name.removeprefix(ROTATING) for name in names if name.startswith(ROTATING))


def staged(entries: Mapping[str, Entry], phase: Phase) -> dict[str, Entry]:
    """The entries with every rotation moved on to a phase.

    Args:
        entries: the secrets' entries, by name.
        phase: the phase.

    Raises:
        HearthError: what was kept of a rotation is damaged.
    """
    found = dict(entries)

    def current(name: str) -> Secret | None:
        entry = entries.get(name)
        return entry.value if entry else None

    for name in rotations(entries):
        kept = entries[entry_of(name)]
        rotation, values = moved(decode(name, kept.value), phase, current)
        found[entry_of(name)] = Entry(Secret(encode(rotation)), kept.created)
        for part, value in values.items():
            if value is None:
                found.pop(part, None)
            else:
                found[part] = Entry(value, kept.created)
    return found

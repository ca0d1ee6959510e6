"""What one process wants to write into the secrets file, and how that joins what others wrote meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hearth.secrets.document import Document, Entry


@dataclass
class Changes:
    """Changes that are not written yet.

    Args:
        generated: must not exist yet.
        put: replaces.
        removed: goes.
        recipients: replaces the recipients; None: they stay.
    """

    generated: dict[str, Entry] = field(default_factory=dict)
    put: dict[str, Entry] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    recipients: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.names or self.recipients is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """What would be written or removed, sorted."""
        return tuple(sorted({*self.generated, *self.put, *self.removed}))

    def over(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries with the changes applied."""
        kept = {name: entry for name, entry in entries.items() if name not in self.removed}
        return {**kept, **self.generated, **self.put}

    def merged(self, current: Document, own: Iterable[str]) -> Document:
        """What is to be written.

        Args:
            current: what is in the file now.
            own: our own recipients, always kept: the next machine that saves must not lock us out.
        """
        recipients = current.recipients if self.recipients is None else self.recipients
        return Document(self.over(current.entries), tuple(dict.fromkeys((*own, *recipients))))

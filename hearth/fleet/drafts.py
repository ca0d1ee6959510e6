"""A guest on its way from the file to the model: merged, but not yet checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hearth.fleet.entries import GuestEntry
from hearth.fleet.mistakes import Place, Report

LXC_ONLY = frozenset({"swap", "unprivileged", "features", "mounts", "tun"})
VM_ONLY = frozenset({"disks"})


@dataclass(frozen=True)
class Draft:
    """One guest.

    Args:
        name: its name.
        entry: its keys, defaults merged in.
        origin: where each key stands in the file (at the guest or in the defaults).
        group: the name of its entry in the file, where that has `count`.
    """

    name: str
    entry: GuestEntry
    origin: Mapping[str, Place]
    group: str | None = None

    def place(self, key: str) -> Place:
        """The field as the admin knows it: guests.NAME.KEY."""
        return ("guests", self.name, key)

    def at(self, key: str) -> Place:
        """Where the value stands."""
        return self.origin.get(key, self.place(key))

    def unsure(self, key: str, report: Report) -> bool:
        """True where a mistake of this key is known, so that "missing" would mislead."""
        kind = self.entry.kind or "lxc"
        places = (self.place(key), ("defaults", key), ("defaults", kind, key))
        return any(report.unsure(place) for place in places)

    def wrong(self, key: str, report: Report, wrong: str, right: str) -> None:
        """Report a mistake of one key, where its value stands: a wrong default is told once."""
        at = self.at(key)
        report.add(at if at[0] == "defaults" else self.place(key), wrong, right, at=at)

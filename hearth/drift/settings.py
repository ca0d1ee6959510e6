"""What an admin wants to hear of: group_data/drift.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hearth.errors import HearthError

WISHES = ("report", "drift", "ignore")


@dataclass(frozen=True)
class Settings:
    """The values of group_data/drift.py.

    Args:
        unmanaged: what guests that are not in the fleet file count as: one of WISHES.
        known: VMIDs and names of such guests that are never spoken of.
        foreign: what others' rules in Proxmox's firewall count as: one of WISHES.
    """

    unmanaged: str = "report"
    known: frozenset[int | str] = frozenset()
    foreign: str = "report"


def read_settings(values: Mapping[str, Any]) -> Settings:
    """The settings, from the values of group_data.

    Raises:
        HearthError: one of them means nothing.
    """
    for name in ("drift_unmanaged_guests", "drift_foreign_firewall"):
        if values.get(name, "report") not in WISHES:
            raise _wrong(name, values[name], f"write one of {', '.join(WISHES)}")
    known = values.get("drift_known_guests", ())
    if not isinstance(known, list | tuple) or not all(type(each) in (int, str) for each in known):
        raise _wrong("drift_known_guests", known, "write a list of VMIDs or names")
    return Settings(
        values.get("drift_unmanaged_guests", "report"),
        frozenset(known),
        values.get("drift_foreign_firewall", "report"),
    )


def _wrong(name: str, value: object, remedy: str) -> HearthError:
    return HearthError("look for drift", f"{name} is {value!r}", f"{remedy}, in group_data/drift.py")

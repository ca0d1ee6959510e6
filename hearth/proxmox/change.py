"""One difference between a guest and the fleet file, and what to send to end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

How = Literal["live", "restart", "replace"]
_WORDS: dict[How, str] = {
    "live": "live",
    "restart": "needs a restart",
    "replace": "needs a replacement",
}


@dataclass(frozen=True)
class Change:
    """A difference in the admin's words.

    Args:
        field: "memory", "cores", "disk", "bridge", "tags", "mp0", ...
        old, new: as shown, without the unit. unit: "MiB", "GiB" or "".
        kind: "live": at once; "restart": with the next one; "replace": only by making the guest anew.
        pending: Proxmox holds it already and it waits for the restart.
    """

    field: str
    old: str
    new: str
    kind: How
    unit: str = ""
    pending: bool = False

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.field}: {self.old} -> {self.new}{unit} ({_WORDS[self.kind]})"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "field": self.field,
            "old": self.old,
            "new": self.new,
            "unit": self.unit,
            "kind": self.kind,
            "pending": self.pending,
        }


@dataclass(frozen=True)
class Difference:
    """A change and what ends it.

    Args:
        send: keys for the API's PUT .../config.
        root: keys that only root may set: through the node's SSH wrapper.
        grow: slot -> size in MiB, for PUT .../resize.
        pool: the pool to join.
        with_restart: Proxmox would take it at once and the guest not notice; so it is sent only where the
            restart follows, or the change would go silent without being in force.
        refused: why it cannot be; empty where it can.
        remedy: what to do about that.
    """

    change: Change
    send: Mapping[str, str] = field(default_factory=dict)
    root: Mapping[str, str] = field(default_factory=dict)
    grow: Mapping[str, int] = field(default_factory=dict)
    pool: str | None = None
    with_restart: bool = False
    refused: str = ""
    remedy: str = ""

"""What a restore leaves in the state folder, for whoever held it: `restore.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hearth.backup.onguest.stream import Piece
from hearth.backup.timeline import Event, Verdict
from hearth.durable import write_durably
from hearth.errors import HearthError

FILE = "restore.json"


@dataclass(frozen=True)
class Record:
    """A restore.

    Args:
        source: the backup it was from, in words.
        events: what was done when, in seconds after it began.
        pieces: what was brought back: guest and piece.
        archives: the guests that Proxmox made from its own backups: guest -> volume ID and its time.
        missing: guest/piece that no backup has.
        unfinished: guest and role that were never done.
        verified: how tests/verify ended; None: it did not get so far.
        verdicts: the objectives.
    """

    source: str
    events: tuple[Event, ...] = ()
    pieces: tuple[tuple[str, Piece], ...] = ()
    archives: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unfinished: tuple[tuple[str, str], ...] = ()
    verified: bool | None = None
    verdicts: tuple[Verdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "source": self.source,
            "events": [
                {"after": round(each.after, 1), "guest": each.guest, "what": each.what, "role": each.role}
                for each in sorted(self.events, key=lambda event: event.after)
            ],
            "restored": [
                {
                    "guest": guest,
                    "role": piece.role,
                    "state": piece.name,
                    "made": piece.made,
                    "bytes": piece.size,
                }
                for guest, piece in self.pieces
            ],
            "archives": [
                {"guest": guest, "backup": volid, "made": made.isoformat()}
                for guest, (volid, made) in sorted(self.archives.items())
            ],
            "missing": list(self.missing),
            "unfinished": [{"guest": guest, "role": role} for guest, role in self.unfinished],
            "verified": self.verified,
            "objectives": [verdict.to_json() for verdict in self.verdicts],
        }


def write(state_dir: Path, record: Record) -> None:
    """Keep the record of the last restore. Raises OSError."""
    write_durably(state_dir / FILE, (json.dumps(record.to_json(), indent=2) + "\n").encode())


def read(state_dir: Path) -> dict[str, Any] | None:
    """The record of the last restore as `to_json` gives it; None where there is none.

    Raises:
        HearthError: the file cannot be read.
    """
    path = state_dir / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HearthError(f"read {path}", str(error)) from None
    return found if isinstance(found, dict) else None


def events(found: Mapping[str, Any]) -> list[Event]:
    """The events of a record that was read."""
    return [
        Event(float(e["after"]), str(e["guest"]), str(e["what"]), str(e["role"])) for e in found["events"]
    ]

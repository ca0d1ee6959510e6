"""Proxmox's backups, as its API shows them: jobs, and how the last backup of each guest ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TASK = "vzdump"


@dataclass(frozen=True)
class Job:
    """A backup job of the datacenter.

    Args:
        id: its name.
        schedule: a calendar event, systemd.time(7).
        storage: where it writes.
        what: guests, in words.
        enabled: it runs.
    """

    id: str
    schedule: str
    storage: str
    what: str
    enabled: bool


@dataclass(frozen=True)
class Last:
    """The last backup of a guest, or of a whole job (`vmid` is None then).

    Args:
        vmid: the guest.
        node: where.
        ended: when; None: it runs.
        result: "OK", "WARNINGS: 1", or what failed.
    """

    vmid: int | None
    node: str
    ended: datetime | None
    result: str

    @property
    def good(self) -> bool:
        """It ended well: "OK" and "WARNINGS: n" are success (PVE::RPCEnvironment)."""
        return self.result == "OK" or self.result.startswith("WARNINGS")


def jobs(rows: Iterable[Mapping[str, Any]]) -> tuple[Job, ...]:
    """The jobs, of GET /cluster/backup."""
    return tuple(
        Job(
            str(row.get("id") or "?"),
            str(row.get("schedule") or row.get("starttime") or "?"),
            str(row.get("storage") or "?"),
            _what(row),
            str(row.get("enabled", 1)) not in ("0", "False"),
        )
        for row in rows
    )


def _what(row: Mapping[str, Any]) -> str:
    if str(row.get("all") or "0") in ("1", "True"):
        left_out = str(row.get("exclude") or "")
        return f"all guests but {left_out}" if left_out else "all guests"
    if row.get("pool"):
        return f"pool {row['pool']}"
    return f"guests {row.get('vmid') or 'none'}"


def last(node: str, rows: Iterable[Mapping[str, Any]]) -> dict[int | None, Last]:
    """The newest backup of each guest, of GET /nodes/N/tasks?typefilter=vzdump."""
    found: dict[int | None, Last] = {}
    for row in sorted(rows, key=lambda row: int(row.get("starttime") or 0)):
        if row.get("type") != TASK:
            continue
        named = str(row.get("id") or "")
        vmid = int(named) if named.isdigit() else None
        end = row.get("endtime")
        ended = datetime.fromtimestamp(int(end), UTC) if end else None
        found[vmid] = Last(vmid, node, ended, str(row.get("status") or "running"))
    return found

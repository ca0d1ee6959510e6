"""How nodes and guests do, as Proxmox lists them: pure, of its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GIB = 1024**3
DAY, HOUR, MINUTE = 86400, 3600, 60


@dataclass(frozen=True)
class Part:
    """How much of something is used.

    Args:
        name: "memory", or a storage's name.
        used, total: bytes.
    """

    name: str
    used: int
    total: int

    @property
    def percent(self) -> int:
        """0 to 100; 0 where the total is not known."""
        return min(100, round(100 * self.used / self.total)) if self.total else 0

    def __str__(self) -> str:
        return f"{self.used / GIB:.1f} of {self.total / GIB:.1f} GiB ({self.percent} %)"


@dataclass(frozen=True)
class NodeHealth:
    """A node as it is now.

    Args:
        version: of Proxmox VE.
        kernel: its kernel's release.
        uptime: seconds.
        busy: share of its cores that work, 0 to 1.
        parts: memory, root disk and storages.
    """

    version: str
    kernel: str
    uptime: int
    busy: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class GuestHealth:
    """A running guest as it is now: memory, and how long it has been up (seconds)."""

    memory: Part
    uptime: int
    busy: float


def node_health(
    version: Mapping[str, Any], status: Mapping[str, Any], storages: Iterable[Mapping[str, Any]]
) -> NodeHealth:
    """A node's health, of GET /version, /nodes/N/status and /nodes/N/storage."""
    parts = [
        Part(name, int(found.get("used") or 0), int(found.get("total") or 0))
        for name, key in (("memory", "memory"), ("root disk", "rootfs"))
        if (found := status.get(key))
    ]
    parts += [
        Part(f"storage {row['storage']}", int(row.get("used") or 0), int(row.get("total") or 0))
        for row in sorted(storages, key=lambda row: str(row["storage"]))
        if row.get("total")
    ]
    kernel = status.get("current-kernel") or {}
    return NodeHealth(
        str(version.get("version") or "?"),
        str(kernel.get("release") or status.get("kversion") or ""),
        int(status.get("uptime") or 0),
        float(status.get("cpu") or 0),
        tuple(parts),
    )


def guest_health(rows: Iterable[Mapping[str, Any]]) -> dict[int, GuestHealth]:
    """VMID -> health of what runs, of the rows of GET /nodes/N/lxc and /nodes/N/qemu."""
    return {
        int(row["vmid"]): GuestHealth(
            Part("memory", int(row.get("mem") or 0), int(row.get("maxmem") or 0)),
            int(row.get("uptime") or 0),
            float(row.get("cpu") or 0),
        )
        for row in rows
        if row.get("status") == "running"
    }


def duration(seconds: float) -> str:
    """Seconds in words: "3 d 4 h", "12 min", "40 s", "0.4 s"."""
    whole = round(seconds)
    if whole >= DAY:
        return f"{whole // DAY} d {whole % DAY // HOUR} h"
    if whole >= HOUR:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    if whole >= MINUTE:
        return f"{whole // MINUTE} min {whole % MINUTE} s" if whole % MINUTE else f"{whole // MINUTE} min"
    return f"{seconds:.1f} s" if seconds % 1 and seconds < 10 else f"{whole} s"  # noqa: PLR2004

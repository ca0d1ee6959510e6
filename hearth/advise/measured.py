"""What Prometheus has measured of the guests: one query for each number, for all guests at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hearth.errors import HearthError

MIB: Final = 1024 * 1024
STEP: Final = "5m"
RATE: Final = "15m"  # a peak that is shorter is none that more cores would help against
DAY: Final = 86_400
_DISK: Final = 'mountpoint="/",fstype!~"tmpfs|ramfs"'


@dataclass(frozen=True)
class Measured:
    """A guest over some days.

    Args:
        days: for how long it has been measured.
        memory: MiB in use, more than which it has used in 1 of 100 samples only.
        busy: cores at work, likewise 5 of 100.
        disk: MiB in use on its root disk now.
        disk_size: MiB of that disk.
        grows: MiB a day by which that has grown; negative where it has shrunk.
        kills: how often the kernel has ended a program for want of memory.
    """

    days: float
    memory: float | None = None
    busy: float | None = None
    disk: float | None = None
    disk_size: float | None = None
    grows: float | None = None
    kills: float = 0.0


def queries(days: int) -> dict[str, str]:
    """PromQL by what it measures; each gives one number a guest (label `guest`)."""
    used = "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes"
    free = f"node_filesystem_avail_bytes{{{_DISK}}}"
    size = f"node_filesystem_size_bytes{{{_DISK}}}"
    busy = f'sum by (guest) (rate(node_cpu_seconds_total{{mode!~"idle|iowait|steal"}}[{RATE}]))'
    range_ = f"[{days}d:{STEP}]"
    return {
        "began": f"min by (guest) (min_over_time(timestamp(node_memory_MemTotal_bytes)[{days}d:1h]))",
        # The last value, also of a guest that is down just now.
        "ended": f"max by (guest) (max_over_time(timestamp(node_memory_MemTotal_bytes)[{days}d:1h]))",
        "memory": f"max by (guest) (quantile_over_time(0.99, ({used}){range_}))",
        "busy": f"max by (guest) (quantile_over_time(0.95, ({busy}){range_}))",
        "disk": f"max by (guest) (last_over_time({size}[{days}d]) - last_over_time({free}[{days}d]))",
        "disk_size": f"max by (guest) (last_over_time({size}[{days}d]))",
        "grows": f"-max by (guest) (deriv({free}[{days}d]))",
        "kills": f"sum by (guest) (increase(node_vmstat_oom_kill[{days}d]))",
    }


def measure(ask: Callable[..., Any], days: int) -> dict[str, Measured]:
    """Guest -> what was measured of it.

    Args:
        ask: gives the answer of Prometheus' HTTP API to a path and a query (hearth.monitored.Place.ask).
        days: how far to look back.

    Raises:
        HearthError: it does not answer, or not as Prometheus does.
    """
    found = {name: _vector(ask("/api/v1/query", query=query)) for name, query in queries(days).items()}
    return {guest: _one(guest, found) for guest in sorted(found["began"])}


def _one(guest: str, found: Mapping[str, Mapping[str, float]]) -> Measured:
    def mib(name: str, times: float = 1.0) -> float | None:
        value = found[name].get(guest)
        return None if value is None else value * times / MIB

    began = found["began"][guest]
    return Measured(
        days=(found["ended"].get(guest, began) - began) / DAY,
        memory=mib("memory"),
        busy=found["busy"].get(guest),
        disk=mib("disk"),
        disk_size=mib("disk_size"),
        grows=mib("grows", DAY),
        kills=found["kills"].get(guest, 0.0),
    )


def _vector(answer: Any) -> dict[str, float]:
    """An instant vector (prometheus.io/docs/prometheus/latest/querying/api, "Instant queries")."""
    try:
        if answer["status"] != "success":
            raise HearthError("ask Prometheus", str(answer.get("error") or answer["status"]))
        rows = answer["data"]["result"]
        values = {
            str(row["metric"]["guest"]): float(row["value"][1]) for row in rows if "guest" in row["metric"]
        }
    except (KeyError, TypeError, IndexError, ValueError):
        raise HearthError("ask Prometheus", "its answer has another shape than is known") from None
    return {guest: value for guest, value in values.items() if not math.isnan(value)}

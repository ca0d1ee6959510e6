"""What was backed up when, and how large, as Prometheus's text format for the node exporter's textfiles.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from .stream import write

PREFIX = "hearth_backup_"
HELP = {
    "run_timestamp_seconds": "when it last ran to its end",
    "success_timestamp_seconds": "when it last ran without any error",
    "ok": "1 where the last run had no error",
    "guest_ok": "1 where all of the guest's states were saved in the last run",
    "state_timestamp_seconds": "from when the newest saved state is",
    "state_bytes": "how large it is",
    "repository_bytes": "how much the repository stores",
    "snapshots": "how many snapshots it has",
    "snapshot_timestamp_seconds": "from when its newest snapshot is",
}
Sample = tuple[str, Mapping[str, str], float]


def seconds(moment: str) -> float:
    """Unix time of an ISO 8601 time; restic writes nanoseconds, which Python 3.11 cuts off itself."""
    return datetime.fromisoformat(moment).timestamp()


def text(samples: Iterable[Sample]) -> str:
    """The samples, each name with its help once."""
    by_name: dict[str, list[str]] = {}
    for name, labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
        shown = f"{value:.0f}" if float(value).is_integer() else repr(float(value))
        by_name.setdefault(name, []).append(f"{PREFIX}{name}{'{' + inside + '}' if inside else ''} {shown}")
    lines = []
    for name, rows in by_name.items():
        lines += [f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} gauge", *rows]
    return "".join(f"{line}\n" for line in lines)


def kept(path: Path, name: str, labels: Mapping[str, str]) -> float | None:
    """A sample of an earlier run's file: when it last went well stays known while it fails."""
    wanted = text([(name, labels, 0)]).splitlines()[-1].rpartition(" ")[0]
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == wanted), None)


def publish(path: Path, samples: Iterable[Sample]) -> None:
    """Write a textfile: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text(samples).encode())
    path.chmod(0o644)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

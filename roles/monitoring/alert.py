"""An alert, and the limits from which on there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info", "none"]
DAY = 86_400
WATCHDOG = "Watchdog"
PING = 'service="ping"'


@dataclass(frozen=True)
class Alert:
    """One alert.

    Args:
        name: as it is shown; its page is docs/runbooks/NAME.md.
        expr: PromQL; each series of its answer is an alert.
        lasts: for how long it must hold first.
        severity: "critical": now, also at night; "warning": today; "info": when there is time; "none": the
            dead man's, which nobody is told.
        says: one sentence; a template of Prometheus, with `$labels` and `$value`.
        within: a role; without a guest that has it the alert is left out.
    """

    name: str
    expr: str
    lasts: str
    severity: Severity
    says: str
    within: str = ""


@dataclass(frozen=True)
class Limits:
    """The thresholds, from group_data; see the comments there."""

    slow: float
    ping_slow: float
    tailnet_slow: float
    disk_free: int
    disk_days: int
    memory_free: int
    cpu_busy: int
    certificate_days: int
    secret_days: int
    backup_hours: int
    entities_lost: int
    replica_behind: int

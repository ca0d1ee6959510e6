"""What is wrong just now, as Alertmanager has it: pure, of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

ROLE: Final = "alerts"
PORT: Final = "web"
PATH: Final = "/api/v2/alerts"
ALWAYS: Final = "Watchdog"  # it fires as long as the monitoring lives


@dataclass(frozen=True)
class Alert:
    """An alert that is on.

    Args:
        name: which.
        severity: "critical", "warning", or what the rule says.
        about: the guest, or what else it is about.
        text: for people.
        since: when it began; None where that is not said.
        silenced: somebody has silenced it, or a greater one hides it.
    """

    name: str
    severity: str
    about: str
    text: str
    since: datetime | None
    silenced: bool


def alerts(rows: Iterable[Mapping[str, Any]]) -> tuple[Alert, ...]:
    """The alerts, the worst first; without the one that is always on."""
    found = [_alert(row) for row in rows if (row.get("labels") or {}).get("alertname") != ALWAYS]
    order = {"critical": 0, "warning": 1}
    return tuple(
        sorted(found, key=lambda one: (one.silenced, order.get(one.severity, 2), one.name, one.about))
    )


def _alert(row: Mapping[str, Any]) -> Alert:
    labels, words = row.get("labels") or {}, row.get("annotations") or {}
    state = (row.get("status") or {}).get("state")
    return Alert(
        str(labels.get("alertname") or "?"),
        str(labels.get("severity") or "no severity"),
        str(labels.get("guest") or labels.get("instance") or labels.get("job") or ""),
        str(words.get("summary") or words.get("description") or ""),
        _moment(row.get("startsAt")),
        state == "suppressed",
    )


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None

"""What is worth telling: alerts as Prometheus evaluates them, each with a page of docs/runbooks.

Thresholds are group_data's (`monitoring_...`). A series that a fleet does not have raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from .alert import WATCHDOG, Alert, Limits
from .guest_alerts import about_guests
from .home_alerts import about_home

__all__ = ["WATCHDOG", "Alert", "Limits", "alerts", "rules_text"]


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """Every alert there is."""
    return (*about_guests(limits), *about_home(limits))


RECORDED = {"hearth:home_assistant_entities": "count by (guest) (homeassistant_entity_available)"}


def rules_text(found: Sequence[Alert], present: frozenset[str], page: str) -> str:
    """The rule file.

    Args:
        found: the alerts.
        present: the roles that some guest of the fleet has.
        page: where an alert's page is, with `{name}` in it.
    """
    recorded: list[Mapping[str, Any]] = [{"record": name, "expr": expr} for name, expr in RECORDED.items()]
    kept = [alert for alert in found if not alert.within or alert.within in present]
    groups = [
        {"name": "hearth-recorded", "rules": recorded},
        {"name": "hearth", "rules": [_rule(alert, page) for alert in kept]},
    ]
    return "# Written by Hearth.\n" + yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def _rule(alert: Alert, page: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.says, "runbook_url": page.format(name=alert.name)},
    }

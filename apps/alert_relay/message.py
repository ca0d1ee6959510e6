"""A group of alerts in words for a phone. Pure.

Alertmanager's webhook: prometheus.io/docs/alerting/latest/configuration, "webhook_config", version 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST = 20  # alerts that are listed; more are counted
FIRING = "firing"
# How loud: ntfy's priorities (docs.ntfy.sh/publish, "Message priority"), and what Apprise calls it.
LOUDNESS = {"critical": ("max", "failure"), "warning": ("default", "warning"), "info": ("low", "info")}
QUIET = ("low", "success")
SIGNS = {"critical": "rotating_light", "warning": "warning", "info": "information_source"}
OVER = "white_check_mark"


@dataclass(frozen=True)
class Message:
    """What is sent.

    Args:
        title, body: plain text.
        priority: ntfy's: "max", "high", "default", "low" or "min".
        kind: Apprise's: "failure", "warning", "info" or "success".
        tags: ntfy's emoji names.
        link: a page that says what to do; empty where there is none.
    """

    title: str
    body: str
    priority: str = "default"
    kind: str = "info"
    tags: tuple[str, ...] = ()
    link: str = ""


def message(group: Mapping[str, Any]) -> Message:
    """The message about a group of alerts.

    Raises:
        ValueError: it is none.
    """
    alerts = group.get("alerts")
    if not isinstance(alerts, list) or not alerts or not all(isinstance(one, dict) for one in alerts):
        raise ValueError("it has no alerts")
    firing = [one for one in alerts if one.get("status") == FIRING]
    over = [one for one in alerts if one.get("status") != FIRING]
    loudest = next((word for word in LOUDNESS if any(_label(one, "severity") == word for one in firing)), "")
    priority, kind = LOUDNESS.get(loudest, ("default", "warning") if firing else QUIET)
    links = dict.fromkeys(_note(one, "runbook_url") for one in (*firing, *over))
    return Message(
        title=_title(firing, over),
        body="\n".join([*_lines(firing, "•"), *_lines(over, "over:")]),
        priority=priority,
        kind=kind,
        tags=(SIGNS.get(loudest, "warning") if firing else OVER,),
        link=next((link for link in links if link), ""),
    )


def _title(firing: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]]) -> str:
    meant = firing or over
    names = ", ".join(dict.fromkeys(_label(one, "alertname") or "alert" for one in meant))
    guests = list(dict.fromkeys(filter(None, (_label(one, "guest") for one in meant))))
    where = f": {', '.join(guests[:3])}{' ...' if len(guests) > 3 else ''}" if guests else ""  # noqa: PLR2004
    count = f" ({len(meant)})" if len(meant) > 1 else ""
    return f"{'' if firing else 'over: '}{names}{where}{count}"


def _lines(alerts: Sequence[Mapping[str, Any]], sign: str) -> list[str]:
    lines = [f"{sign} {_note(one, 'summary') or _label(one, 'alertname')}" for one in alerts]
    lines = list(dict.fromkeys(lines))
    rest = len(lines) - MOST
    return [*lines[:MOST], *([f"{sign} and {rest} more"] if rest > 0 else [])]


def _label(alert: Mapping[str, Any], name: str) -> str:
    found = alert.get("labels")
    return str(found.get(name, "")) if isinstance(found, dict) else ""


def _note(alert: Mapping[str, Any], name: str) -> str:
    found = alert.get("annotations")
    return str(found.get(name, "")) if isinstance(found, dict) else ""

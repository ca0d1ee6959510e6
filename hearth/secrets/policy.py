"""How old a secret may become: its kind by its name, and when it is due. Pure decisions on plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from hearth.errors import HearthError
from hearth.secrets.rotation import ROTATING

LEAF_DAYS, CA_DAYS = 30, 365  # a certificate is due when fewer days are left


@dataclass(frozen=True)
class Kind:
    """Secrets that are alike.

    Args:
        name: e.g. "MQTT password".
        patterns: their names, as fnmatch has them.
        days: how old one may become; None: it lasts as long as what it belongs to.
    """

    name: str
    patterns: tuple[str, ...]
    days: int | None


# The first that fits counts.
KINDS = (
    Kind("Proxmox token", ("proxmox/token", "proxmox/reader"), 180),
    Kind("MQTT password", ("mqtt/*",), 365),
    Kind("Home Assistant token", ("home-assistant/token/*",), 365),
    Kind("Home Assistant owner", ("home-assistant/owner",), 365),
    Kind("database password", ("postgresql/*",), 365),
    Kind("Vaultwarden admin token", ("vaultwarden/admin-token",), 365),
    Kind("MCP token", ("mcp-hub/token/*",), 365),
    Kind("AI token", ("ai-automation/token/*",), 365),
    Kind("Zigbee2MQTT frontend token", ("zigbee2mqtt/frontend-token",), 365),
    Kind("tailnet API key", ("tailscale/api-key",), 80),  # Tailscale's own end after at most 90
    Kind("tailnet client", ("tailscale/oauth-*",), 365),
    Kind("monitoring password", ("metrics/*", "monitoring/*", "alerts/admin", "alerts/prometheus"), 365),
    Kind("ntfy password", ("ntfy/*",), 365),
    Kind("certificate", ("tls/*/cert", "client/*/cert", "ca/cert"), None),
    Kind("authority's key", ("ca/*",), None),
    # Another one would lock us out, or what was written with it, or would have every device paired again.
    Kind("SSH key", ("ssh/*",), None),
    Kind("backup key", ("home-assistant/backup", "restic/*"), None),
    Kind("Zigbee network", ("zigbee2mqtt/network-key",), None),
    Kind("secret of yours", ("*",), 365),
)
# They go with another one, or are none.
PARTS = (
    "*-salt",
    "*-salt/*",
    "tls/*/key",
    "client/*/key",
    "mqtt-login/*",
    "home-assistant/told/*",
    "zigbee2mqtt/pan-id",
    "zigbee2mqtt/ext-pan-id",
    "bitwarden/server",
    f"{ROTATING}*",
)


@dataclass(frozen=True)
class Due:
    """How old a secret is, and when it has to be replaced.

    Args:
        age: whole days since it was made; None where nobody knows.
        on: when it is due; None: never, or nobody knows.
        is_due: now, or before now.
    """

    age: int | None
    on: datetime | None
    is_due: bool


def is_part(name: str) -> bool:
    """True for names that are no secrets of their own."""
    return any(fnmatchcase(name, pattern) for pattern in PARTS)


def kind_of(name: str) -> Kind:
    """The kind that a secret is of."""
    return next(kind for kind in KINDS if any(fnmatchcase(name, pattern) for pattern in kind.patterns))


def days_of(name: str, policy: Mapping[str, int | None]) -> int | None:
    """How many days old a secret may become: by the admin's policy, else by its kind.

    Args:
        name: the secret's name.
        policy: pattern -> days, None for never; the first pattern that fits counts.
    """
    for pattern, days in policy.items():
        if fnmatchcase(name, pattern):
            return days
    return kind_of(name).days


def due(made: str | None, days: int | None, now: datetime) -> Due:
    """When a secret of that age is due.

    Args:
        made: when it was made (ISO 8601); None where nobody knows.
        days: how old it may become; None: as old as it likes.
        now: the time, UTC.
    """
    since = _moment(made)
    age = (now - since).days if since else None
    on = since + timedelta(days=days) if since and days is not None else None
    return Due(age, on, on is not None and on <= now)


def certificate_due(made: str | None, ends: datetime, left: int, now: datetime) -> Due:
    """When a certificate has to be replaced: while `left` days are left of it.

    Args:
        made: when it was made (ISO 8601).
        ends: when it ends, UTC.
        left: days.
        now: the time, UTC.
    """
    on = ends - timedelta(days=left)
    return Due(due(made, None, now).age, on, on <= now)


def check_policy(value: Any) -> dict[str, int | None]:
    """`secrets_due` of group_data, if it is one.

    Raises:
        HearthError: it is no mapping of patterns to days.
    """
    action = "read secrets_due of group_data/secrets.py"
    if not isinstance(value, Mapping):
        raise HearthError(action, "it is no mapping", 'write {"mqtt/*": 180}')
    for pattern, days in value.items():
        whole = isinstance(days, int) and not isinstance(days, bool) and days >= 1
        if not isinstance(pattern, str) or not (whole or days is None):
            raise HearthError(action, f"{pattern!r} is {days!r}", "write a number of days, or None for never")
    return dict(value)


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)

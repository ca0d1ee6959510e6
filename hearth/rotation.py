"""Which secrets a rotation is about, and the new values they get; decisions on plain data.

How each kind is rotated:

- doubled: the server accepts two values for the time (MQTT services by two user names, MCP and AI
  tokens, the backups' repositories by two keys).
- minted: the server makes the value, and holds two (Home Assistant's and Proxmox's tokens).
- replaced: the server holds one; connections that are there go on (databases), or it is restarted once.
- reissued: a certificate with a new key, signed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from hearth.errors import HearthError
from hearth.secrets.policy import is_part
from hearth.secrets.rotation import Rotation
from hearth.secrets.value import Secret

Way = Literal["doubled", "minted", "replaced", "reissued"]
ALL = "all"
WAYS: Mapping[str, Way] = {
    "mqtt/*": "replaced",  # services' are doubled
    "mcp-hub/token/*": "doubled",
    "ai-automation/token/*": "doubled",
    "home-assistant/token/*": "minted",
    "home-assistant/owner": "replaced",
    "proxmox/token": "minted",
    "postgresql/*": "replaced",
    "vaultwarden/admin-token": "replaced",
    "zigbee2mqtt/frontend-token": "replaced",
    "metrics/*": "replaced",
    "monitoring/*": "replaced",
    "alerts/admin": "replaced",
    "alerts/prometheus": "replaced",
    "ntfy/alerts-*": "replaced",
    "ntfy/dead-man-*": "replaced",
    "restic/password": "doubled",
    "tls/*/cert": "reissued",
}
SECOND = ".b"  # after a service's name: its other login at the broker; the two take turns


@dataclass(frozen=True)
class Known:
    """What is known of the fleet's secrets.

    Args:
        names: all there are.
        services: the users of the broker that are services: what a deploy reaches.
        by_hand: further clients, whose secret somebody has to type in there: devices, the admin's own.
        elsewhere: names whose value is not the file's: from the environment or Bitwarden.
    """

    names: tuple[str, ...]
    services: frozenset[str]
    by_hand: frozenset[str]
    elsewhere: frozenset[str]


def way_of(name: str, services: Collection[str]) -> Way | None:
    """How a secret is rotated; None where it is not."""
    if is_part(name):
        return None
    if name.removeprefix("mqtt/") in services and name.startswith("mqtt/"):
        return "doubled"
    return next((way for pattern, way in WAYS.items() if fnmatchcase(name, pattern)), None)


def choose(wanted: Iterable[str], known: Known) -> tuple[str, ...]:
    """The secrets that are meant, sorted.

    Args:
        wanted: names and patterns as fnmatch has them, or `all`: everything that a run can switch by itself.
        known: what there is.

    Raises:
        HearthError: one names nothing, or what cannot be rotated.
    """
    found: set[str] = set()
    for pattern in wanted:
        fitting = [name for name in known.names if fnmatchcase(name, pattern) and not is_part(name)]
        if pattern == ALL:
            found |= {name for name in known.names if name not in known.by_hand and not _why_not(name, known)}
        elif not fitting:
            raise HearthError(f"rotate {pattern}", "there is no such secret", "hearth secrets list")
        elif pattern in fitting and (why := _why_not(pattern, known)):
            raise HearthError(f"rotate {pattern}", *why)
        else:
            found |= {name for name in fitting if not _why_not(name, known)}
    return tuple(sorted(found))


def _why_not(name: str, known: Known) -> tuple[str, str] | None:
    if way_of(name, known.services) is None:
        return "no run can switch what uses it", f"hearth secrets set {name}"
    if name in known.elsewhere:
        if name == "proxmox/token":
            return "that takes root's rights", "set PROXMOX_VE_API_TOKEN to a token of root's for this run"
        return "its value is not the file's", "change it where it comes from: the environment, or Bitwarden"
    return None


def begun(name: str, known: Known, find: Callable[[str], Secret | None], make: Makers) -> Rotation:
    """A rotation that begins.

    Args:
        name: the secret.
        known: what there is.
        find: looks a secret up.
        make: what makes new values.
    """
    way = way_of(name, known.services)
    other: dict[str, Secret | None]
    if way == "minted":
        other = {name: None}
    elif way == "reissued":
        certificate, key = make.certificate(name.split("/")[1])
        other = {name: Secret(certificate), name.removesuffix("cert") + "key": Secret(key)}
    else:
        other = {name: Secret(make.password())}
    if way == "doubled" and name.startswith("mqtt/"):
        user = name.removeprefix("mqtt/")
        login = f"mqtt-login/{user}"
        other[login] = None if find(login) else Secret(user + SECOND)
    return Rotation(name, "offered", other)


@dataclass(frozen=True)
class Makers:
    """What makes new values.

    Args:
        password: a password or a token.
        certificate: a guest's certificate and key, PEM, for the names that its present one has.
    """

    password: Callable[[], str]
    certificate: Callable[[str], tuple[str, str]]

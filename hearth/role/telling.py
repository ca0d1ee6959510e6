"""How people are told: the topics and logins of ntfy, further targets, and the program that sends.

Roles `alerts` and `dead_man` tell; role `ntfy` lets them.
"""

from __future__ import annotations

from urllib.parse import quote

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.here import Here
from hearth.secrets import password

TOPIC, HEARTBEAT = "alerts", "heartbeat"
NTFY = "ntfy"
LIBRARY = "/usr/local/lib/hearth/alert_relay"
PARTS = ("__init__.py", "__main__.py", "message.py", "send.py", "watch.py")


def secret_of(user: str) -> str:
    """The name of the password of a user of ntfy."""
    return f"{NTFY}/{user}"


def program(here: Here) -> list[File]:
    """The program that sends (apps/alert_relay)."""
    folder = here.run.project / "apps" / "alert_relay"
    return [File(f"{LIBRARY}/{part}", (folder / part).read_text()) for part in PARTS]


def ntfy_url(here: Here, topic: str) -> str | None:
    """Apprise's URL of a topic of the fleet's ntfy, with this role's login; None where there is no ntfy."""
    if NTFY not in here.roles or not (found := here.providers(f"{NTFY}.web")):
        return None
    user = service_user(here.role.name, here.guest.name)
    secret = here.secrets.ensure(secret_of(user), password).reveal()
    place = f"{found[0].guest.name}:{found[0].port.number}"
    return f"ntfys://{quote(user, safe='')}:{quote(secret, safe='')}@{place}/{topic}"


def targets(here: Here) -> dict[str, str]:
    """Whom to tell, by name: Apprise's URLs. ntfy is among them, where the fleet has it.

    Raises:
        HearthError: `alerts_targets` of group_data is no mapping of names to secrets.
        MissingSecretError: one of these secrets is not there.
    """
    found = {NTFY: url} if (url := ntfy_url(here, TOPIC)) else {}
    given = getattr(here.host.data, "alerts_targets", {})
    good = isinstance(given, dict) and all(
        isinstance(key, str) and key.isidentifier() and key != NTFY and isinstance(value, str) and value
        for key, value in given.items()
    )
    if not good:
        raise HearthError(
            "tell people of alerts",
            f"alerts_targets is {given!r}",
            'write names and names of secrets, e.g. {"mail": "alerts/mail"}, into group_data/alerts.py',
        )
    return found | {name: here.secrets.get(secret).reveal() for name, secret in given.items()}

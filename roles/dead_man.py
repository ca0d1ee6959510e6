"""The dead man: tells people when monitoring itself gives no sign of life any more.

Prometheus raises an alert that is always there; Alertmanager has it brought to a topic of ntfy every minute.
Who looks there sees at once whether all of that still works. Put it on another guest than monitoring, best
beside ntfy.
"""

from __future__ import annotations

import json

from hearth.errors import HearthError
from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import AUTHORITY
from hearth.role.declaration import Need, Role
from hearth.role.here import Here
from hearth.role.telling import HEARTBEAT, LIBRARY, program, secret_of, targets
from hearth.role.watched import MONITORING
from hearth.secrets import password

USER, UNIT = "dead-man", "dead-man.service"
SETTINGS = "/etc/dead-man/settings.json"

role = Role(
    needs=(Need("ntfy", "web"), Need("alerts", "web", later=True)),
    secrets=("ntfy/dead-man-*", "alerts/*"),
)


@role.deploy
def dead_man(here: Here) -> None:
    """Bring the program, and run it."""
    refuse_the_same_guest(here)
    apt.installed(name="Install what the dead man tells people with", packages=["apprise"])
    shell.ensure(
        name="Give the dead man his user",
        holds=f"id -u {USER}",
        command=f"useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin {USER}",
    )
    parts = [File(SETTINGS, settings(here), USER, USER, "600", secret=True), *program(here)]
    files.present(name="Configure the dead man", files=parts)
    unit = here.template(
        "dead-man.service.j2",
        f"/etc/systemd/system/{UNIT}",
        values={"user": USER, "settings": SETTINGS, "program": LIBRARY},
    )
    files.present(name="Describe the dead man", files=[unit])
    systemd.service(name="Run the dead man", unit=UNIT, restart_on=[*parts, unit])


def refuse_the_same_guest(here: Here) -> None:
    """Refuse a dead man who would die together with what he watches.

    Raises:
        HearthError: his guest monitors, or sends the alerts.
    """
    if {MONITORING, "alerts"} & set(here.guest.roles):
        raise HearthError(
            f"have the dead man on {here.guest.name}",
            "monitoring is there too: he would die with it",
            "give the role dead_man to another guest",
        )


def settings(here: Here) -> str:
    """What he looks at, and whom he tells."""
    ntfy = here.providers("ntfy.web")[0]
    user = service_user(here.role.name, here.guest.name)
    watchers = here.fleet.with_role(MONITORING)
    page = f"https://{watchers[0].name}:9090/consoles/Watchdog.html" if watchers else ""
    found = {
        "url": f"https://{ntfy.guest.name}:{ntfy.port.number}/{HEARTBEAT}",
        "user": user,
        "password": here.secrets.ensure(secret_of(user), password).reveal(),
        "ca": AUTHORITY,
        "after": here.number("after", 30),
        "every": here.number("every"),
        "again": here.number("again_hours") * 3600,
        "targets": targets(here),
        "link": page,
    }
    return json.dumps(found, indent=1) + "\n"

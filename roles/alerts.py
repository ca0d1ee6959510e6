"""Alertmanager: groups what Prometheus warns of, and tells people by ntfy and whatever Apprise knows."""

from __future__ import annotations

import json
from typing import Any

import yaml

from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.declaration import Directory, Metrics, Need, Port, Role
from hearth.role.here import Here
from hearth.role.telling import HEARTBEAT, LIBRARY, ntfy_url, program, targets
from hearth.role.web_config import web_config
from hearth.secrets.hashed import bcrypt_hash

USER, RELAY_USER = "alertmanager", "alert-relay"
FOLDER = "/etc/alertmanager"
DATA = "/var/lib/alertmanager"
UNIT, RELAY_UNIT = "prometheus-alertmanager.service", "alert-relay.service"
RELAY = 19_093
SETTINGS = "/etc/alert-relay/settings.json"
ADMIN, ADMIN_PASSWORD = "admin", "alerts/admin"
ASKER, ASKER_PASSWORD = "prometheus", "alerts/prometheus"
WATCHDOG = "Watchdog"

role = Role(
    provides=(
        Port(
            "web",
            9093,
            tls=True,
            audience="management",
            metrics=Metrics(user=ASKER, secret=ASKER_PASSWORD),
        ),
        Port("relay", RELAY, audience="host"),
    ),
    needs=(Need("ntfy", "web", optional=True),),
    state=(Directory(DATA, units=(UNIT,)),),
    secrets=("alerts/*", "ntfy/alerts-*", "tls/*"),
)


@role.deploy
def alerts(here: Here) -> None:
    """Alertmanager, its configuration proven by amtool, and the relay that tells people."""
    here.refuse_a_second_guest("each would tell of everything")
    shell.ensure(
        name="Give Alertmanager and the relay their users",
        holds=f"id -u {USER} {RELAY_USER} && [ -d {DATA} ]",
        command="\n".join(
            [
                *(
                    f"id -u {user} >/dev/null 2>&1 || useradd --system --user-group --home-dir /nonexistent "
                    f"--shell /usr/sbin/nologin {user}"
                    for user in (USER, RELAY_USER)
                ),
                f"install -d -m 700 -o {USER} -g {USER} {DATA}",
            ]
        ),
    )
    unit = here.template(
        "unit.conf.j2", f"/etc/systemd/system/{UNIT}.d/hearth.conf", values={"folder": FOLDER, "data": DATA}
    )
    files.present(name="Confine Alertmanager", files=[unit])
    apt.installed(name="Install Alertmanager", packages=["prometheus-alertmanager", "apprise"])
    relay(here)
    config = File(f"{FOLDER}/hearth.yml", config_text(here))
    files.present(
        name="Configure Alertmanager", files=[config], check="amtool check-config {candidate} >/dev/null"
    )
    files.present(name="Bring Alertmanager its certificate and logins", files=web_files(here))
    systemd.service(
        name="Run Alertmanager",
        unit=UNIT,
        restart_on=[unit],
        reload_on=[config],
        ports=[here.port("web").number],
    )


# --------------------------------------------------------------------- Alertmanager


def config_text(here: Here) -> str:
    """alertmanager.yml: one message for what belongs together, and to each target by itself."""
    names = list(targets(here))
    seconds = {name: f"{here.number(name)}s" for name in ("group_wait", "group_interval")}
    silent: dict[str, Any] = {"receiver": "nobody", "matchers": ['severity="none"']}
    config: dict[str, Any] = {
        "route": {
            "receiver": "people",
            "group_by": ["alertname"],
            "group_wait": seconds["group_wait"],
            "group_interval": seconds["group_interval"],
            "repeat_interval": f"{here.number('repeat_hours')}h",
            "routes": [_heartbeat(here) if heartbeat(here) else silent],
        },
        "inhibit_rules": [
            # What is down answers nothing: one message is enough.
            _hides("GuestDown", "GuestSilent|PortClosed|DoorClosed|MetricsMissing|ServiceStopped"),
            _hides("ServiceStopped", "PortClosed|ServiceRestarts|UnitFailed"),
            _hides("DiskFull", "DiskFillsUp"),
        ],
        "receivers": [
            {"name": "people", "webhook_configs": [_webhook(f"/to/{name}") for name in names]},
            {"name": "heartbeat", "webhook_configs": [_webhook("/heartbeat", resolved=False)]},
            {"name": "nobody"},
        ],
    }
    return "# Written by Hearth.\n" + yaml.safe_dump(config, sort_keys=False, width=1000)


def _heartbeat(here: Here) -> dict[str, Any]:
    """The alert that is always there, as a sign of life."""
    every = f"{here.number('heartbeat')}s"
    return {
        "receiver": "heartbeat",
        "matchers": [f'alertname="{WATCHDOG}"'],
        "group_wait": "0s",
        "group_interval": every,
        "repeat_interval": every,
    }


def _hides(source: str, targets: str) -> dict[str, Any]:
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [f'alertname=~"{targets}"'],
        "equal": ["guest"],
    }


def _webhook(path: str, resolved: bool = True) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{RELAY}{path}", "send_resolved": resolved, "max_alerts": 200}


def web_files(here: Here) -> list[File]:
    """TLS and logins: the admin's and Prometheus'."""
    certificate = here.certificate()
    users = {
        ADMIN: bcrypt_hash(here.secrets, ADMIN_PASSWORD),
        ASKER: bcrypt_hash(here.secrets, ASKER_PASSWORD),
    }
    return [
        own(f"{FOLDER}/web.yml", web_config(users), USER),
        File(f"{FOLDER}/server.crt", certificate.cert_pem),
        own(f"{FOLDER}/server.key", certificate.key_pem.reveal(), USER),
    ]


# --------------------------------------------------------------------------- relay


def relay(here: Here) -> None:
    """The relay between Alertmanager and Apprise, on loopback."""
    parts = relay_files(here)
    files.present(
        name="Configure the relay of alerts",
        files=parts,
        check=f"cd {{stage}}{LIBRARY}/.. && python3 -B -m alert_relay --check {{stage}}{SETTINGS}",
    )
    unit = here.template(
        "alert-relay.service.j2",
        f"/etc/systemd/system/{RELAY_UNIT}",
        values={"user": RELAY_USER, "settings": SETTINGS, "program": LIBRARY},
    )
    files.present(name="Describe the relay of alerts", files=[unit])
    systemd.service(name="Run the relay of alerts", unit=RELAY_UNIT, restart_on=[*parts, unit], ports=[RELAY])


def relay_files(here: Here) -> list[File]:
    """Its settings, which hold passwords, and the program."""
    found = {"listen": ["127.0.0.1", RELAY], "targets": targets(here), "heartbeat": heartbeat(here)}
    settings = File(SETTINGS, json.dumps(found, indent=1) + "\n", RELAY_USER, RELAY_USER, "600", secret=True)
    return [settings, *program(here)]


def heartbeat(here: Here) -> str | None:
    """Where signs of life are left; None where nobody looks."""
    return ntfy_url(here, HEARTBEAT) if here.fleet.with_role("dead_man") else None


def own(path: str, content: str, user: str) -> File:
    """A file that only one user may read."""
    return File(path, content, user, user, "600", secret=True)

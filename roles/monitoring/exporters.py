"""The programs that ask for Prometheus: on its guest, on loopback, each a user of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import AUTHORITY
from hearth.role.databases import addresses_of, secret_of
from hearth.role.here import Here
from hearth.secrets import mqtt_user, password

FOLDER = "/etc/prometheus/hearth"
BLACKBOX, MQTT, DATABASES, PVE = 19_115, 19_344, 19_187, 19_221
LIBRARY = "/usr/local/lib/hearth/mqtt_metrics"
PARTS = ("__init__.py", "__main__.py", "state.py", "brokers.py")
PINGS = "/usr/local/lib/hearth/prober/pings"
TIMEOUT = "8s"


@dataclass(frozen=True)
class Exporter:
    """One of them.

    Args:
        title: for people.
        unit: systemd's unit.
        user: whom it runs as.
        port: where it listens on loopback.
        files: what it reads; a change restarts it.
        units: systemd's part.
        packages: Debian packages.
        check: see `hearth.ops.files.present`.
    """

    title: str
    unit: str
    user: str
    port: int
    files: tuple[File, ...]
    units: tuple[File, ...]
    packages: tuple[str, ...] = ()
    check: str | None = None


def asked(here: Here) -> tuple[str, ...]:
    """The exporters that this fleet takes, besides the one for probes."""
    wanted = {"mqtt": "mosquitto.mqtts", "postgres": "postgresql.postgres"}
    return tuple(
        name for name, port in wanted.items() if port.partition(".")[0] in here.roles and here.providers(port)
    )


def helpers(here: Here) -> tuple[Exporter, ...]:
    """All of them on this guest, but the one of Proxmox."""
    makers = {"mqtt": mqtt, "postgres": postgres}
    return (blackbox(here), *(makers[name](here) for name in asked(here)))


def removed(here: Here) -> tuple[str, ...]:
    """The units of those that this fleet does not take any more."""
    units = {"mqtt": "mqtt-metrics.service", "postgres": "prometheus-postgres-exporter.service"}
    return tuple(unit for name, unit in units.items() if name not in asked(here))


# ----------------------------------------------------------------------- probes


def blackbox(here: Here) -> Exporter:
    """The blackbox exporter: ports, web pages, certificates and pings."""
    unit, user = "prometheus-blackbox-exporter.service", "blackbox"
    config = f"{FOLDER}/blackbox.yml"
    values = {
        "user": user,
        "pings": PINGS,
        "command": f"/usr/bin/prometheus-blackbox-exporter --config.file={config} "
        f"--web.listen-address=127.0.0.1:{BLACKBOX}",
    }
    return Exporter(
        title="prober",
        unit=unit,
        user=user,
        port=BLACKBOX,
        files=(File(config, blackbox_text()), here.template("pings.sh", PINGS, mode="755")),
        units=(
            here.template("exporter.conf.j2", f"/etc/systemd/system/{unit}.d/hearth.conf", values=values),
        ),
        packages=("prometheus-blackbox-exporter",),
        check="prometheus-blackbox-exporter --config.check --config.file={candidate} >/dev/null",
    )


def blackbox_text() -> str:
    """Its modules. Certificates must be the fleet's own, or of an authority that Debian trusts."""
    four = {"preferred_ip_protocol": "ip4", "ip_protocol_fallback": True}
    web = {**four, "follow_redirects": False, "valid_status_codes": [200]}
    modules: dict[str, Any] = {
        "http": {"prober": "http", "timeout": TIMEOUT, "http": {**web, "fail_if_ssl": True}},
        "https": {"prober": "http", "timeout": TIMEOUT, "http": {**web, "fail_if_not_ssl": True}},
        "tls": {"prober": "tcp", "timeout": TIMEOUT, "tcp": {**four, "tls": True}},
        "tcp": {"prober": "tcp", "timeout": TIMEOUT, "tcp": four},
        "ping": {"prober": "icmp", "timeout": "4s", "icmp": four},
    }
    return "# Written by Hearth.\n" + yaml.safe_dump({"modules": modules}, sort_keys=False)


# ------------------------------------------------------------------------- MQTT


def mqtt(here: Here) -> Exporter:
    """Our own: brokers, the way between them, Zigbee devices."""
    user, unit = "mqtt-metrics", "mqtt-metrics.service"
    settings = f"{FOLDER}/mqtt.json"
    program = here.run.project / "apps" / "mqtt_metrics"
    values = {"user": user, "settings": settings, "program": LIBRARY}
    return Exporter(
        title="MQTT exporter",
        unit=unit,
        user=user,
        port=MQTT,
        files=(
            File(settings, mqtt_settings(here), user, user, "600", secret=True),
            *(File(f"{LIBRARY}/{part}", (program / part).read_text()) for part in PARTS),
        ),
        units=(here.template("mqtt-metrics.service.j2", f"/etc/systemd/system/{unit}", values=values),),
        packages=("python3-paho-mqtt",),
        check=f"cd {{stage}}{LIBRARY}/.. && python3 -B -m mqtt_metrics --check {{stage}}{settings}",
    )


def mqtt_settings(here: Here) -> str:
    """Where the brokers are, and who we are there."""
    login = mqtt_user(here.secrets, service_user(here.role.name, here.guest.name))
    found = {
        "listen": ["127.0.0.1", MQTT],
        "ca": AUTHORITY,
        "user": login.name,
        "password": login.password.reveal(),
        "brokers": [
            {"guest": one.guest.name, "host": one.guest.name, "port": one.port.number}
            for one in here.providers("mosquitto.mqtts")
        ],
    }
    return json.dumps(found, indent=1) + "\n"


# ---------------------------------------------------------------------- databases


def postgres(here: Here) -> Exporter:
    """The PostgreSQL exporter: replicas and how far they are behind."""
    unit, user = "prometheus-postgres-exporter.service", "postgres-exporter"
    environment = f"{FOLDER}/postgres.env"
    values = {
        "user": user,
        "pings": None,
        "environment": environment,
        "command": f"/usr/bin/prometheus-postgres-exporter --web.listen-address=127.0.0.1:{DATABASES} "
        "--disable-settings-metrics",
    }
    return Exporter(
        title="PostgreSQL exporter",
        unit=unit,
        user=user,
        port=DATABASES,
        files=(File(environment, database_text(here), user, user, "600", secret=True),),
        units=(
            here.template("exporter.conf.j2", f"/etc/systemd/system/{unit}.d/hearth.conf", values=values),
        ),
        packages=("prometheus-postgres-exporter",),
    )


def database_text(here: Here) -> str:
    """How to log in at each database, TLS proven; systemd.exec(5), EnvironmentFile."""
    name = here.role.name
    secret = here.secrets.ensure(secret_of(name), password).reveal()
    words = f"dbname={name} user={name} password={secret} sslmode=verify-full sslrootcert={AUTHORITY}"
    sources = [
        f"host={one.guest.name} port={one.port.number} connect_timeout=5 {words}"
        for one in here.providers("postgresql.postgres")
        if addresses_of(one.guest)
    ]
    return f'DATA_SOURCE_NAME="{",".join(sources)}"\n'

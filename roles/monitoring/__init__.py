"""Prometheus: measures every guest, probes every port, and says what is wrong.

What it asks follows from the fleet and the roles (hearth.role.watched); a new guest or role is in it by
itself. Its helpers (exporters) run beside it, on loopback. Whom it tells is role `alerts`.
"""

from __future__ import annotations

from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.declaration import Metrics, Need, Port, Role, Topic
from hearth.role.here import Here

from . import proxmox
from .configuration import FOLDER, prometheus_files
from .exporters import BLACKBOX, Exporter, helpers, removed
from .pages import CONSOLES

UNIT = "prometheus.service"
ADMIN, PASSWORD = "admin", "monitoring/admin"
DATA = "/var/lib/prometheus/metrics2"

role = Role(
    provides=(
        Port(
            "web",
            9090,
            tls=True,
            audience="management",
            metrics=Metrics(user=ADMIN, secret=PASSWORD),
        ),
        Port("blackbox", BLACKBOX, audience="host"),
    ),
    needs=(
        Need(
            "mosquitto",
            "mqtts",
            optional=True,
            topics=(
                Topic("$SYS/#", "read"),
                Topic("zigbee2mqtt/#", "read"),
                Topic("hearth/monitoring/#"),
            ),
        ),
        Need("home_assistant", "web", optional=True),
        Need("postgresql", "postgres", optional=True, grants=("pg_monitor",)),
        Need("alerts", "web", optional=True, later=True),
    ),
    secrets=(
        "monitoring/*",
        "metrics/*",
        "tls/*",
        "mqtt/monitoring-*",
        "mqtt-salt/monitoring-*",
        "home-assistant/token/monitoring-*",
        "postgresql/monitoring",
        "proxmox/reader",
    ),
    packages=(*proxmox.PACKAGES, "postgresql-client"),  # to look at replicas, and for tests/verify
)


@role.deploy
def monitoring(here: Here) -> None:
    """Prometheus with its configuration proven by promtool, and its exporters."""
    here.refuse_a_second_guest("each would tell of everything")
    install(here)
    found = prometheus_files(here)
    files.present(
        name="Configure Prometheus",
        files=found.proven,
        check=f"promtool check config {{stage}}{FOLDER}/prometheus.yml >/dev/null"
        f" && promtool check web-config {{stage}}{FOLDER}/check-web.yml >/dev/null",
    )
    files.present(name="Bring Prometheus its passwords, certificate and pages", files=found.read_when_used)
    for each in helpers(here):
        run_exporter(each)
    gone = list(removed(here))
    if proxmox.readable(here):
        proxmox.install(here)
        run_exporter(proxmox.exporter(here))
    else:
        gone.append(proxmox.UNIT)
    for name in gone:
        systemd.gone(name=f"Have no {name}", unit=name)
    systemd.service(
        name="Run Prometheus",
        unit=UNIT,
        restart_on=[unit(here)],
        reload_on=found.proven,
        ports=[here.port("web").number],
    )


def install(here: Here) -> None:
    """Debian's package; what it would start by itself, open to everybody, is confined before it is there."""
    files.present(name="Confine Prometheus", files=[unit(here)])
    apt.installed(name="Install Prometheus", packages=["prometheus"])


def unit(here: Here) -> File:
    """Systemd's drop-in for Prometheus."""
    values = {"folder": FOLDER, "consoles": CONSOLES, "data": DATA, "port": here.port("web").number}
    return here.template("unit.conf.j2", f"/etc/systemd/system/{UNIT}.d/hearth.conf", values=values)


def run_exporter(each: Exporter) -> None:
    """One of the programs that ask for Prometheus, on loopback; confined before it is there."""
    shell.ensure(
        name=f"Give the {each.title} its user",
        holds=f"id -u {each.user}",
        command="useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin "
        f"{each.user}",
    )
    files.present(name=f"Confine the {each.title}", files=each.units)
    if each.packages:
        apt.installed(name=f"Install the {each.title}", packages=each.packages)
    files.present(name=f"Configure the {each.title}", files=each.files, check=each.check)
    systemd.service(
        name=f"Run the {each.title}",
        unit=each.unit,
        restart_on=[*each.files, *each.units],
        ports=[each.port],
    )

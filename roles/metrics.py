"""What a guest tells Prometheus: itself, its services, and what any program of it writes as a text file.

Every guest has it where some guest has role monitoring, which alone may ask, over TLS and with a password.
"""

from __future__ import annotations

from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.declaration import Metrics, Port, Role
from hearth.role.here import Here
from hearth.role.tailnet import TAILSCALE
from hearth.role.watched import MONITORING, TEXTFILES
from hearth.role.web_config import web_config
from hearth.secrets.hashed import bcrypt_hash

USER = "node-exporter"
FOLDER = "/etc/node-exporter"
LIBRARY = "/usr/local/lib/hearth/metrics"
UNIT = "prometheus-node-exporter.service"
TIMER, TAILNET_TIMER = "hearth-metrics.timer", "hearth-tailnet-metrics.timer"
ASKER = "prometheus"
PASSWORD = "metrics/prometheus"

role = Role(
    provides=(
        Port(
            "node",
            9100,
            tls=True,
            audience="monitoring",
            metrics=Metrics(user=ASKER, secret=PASSWORD),
        ),
    ),
    secrets=("metrics/*", "tls/*"),
    follows=MONITORING,
)


@role.deploy
def metrics(here: Here) -> None:
    """Bring the node exporter behind TLS, and the script that watches services."""
    shell.ensure(
        name="Give the node exporter its user",
        holds=f"id -u {USER} && [ -d {TEXTFILES} ]",
        command=f"id -u {USER} >/dev/null 2>&1 || useradd --system --user-group --home-dir /nonexistent "
        f"--shell /usr/sbin/nologin {USER}; install -d -m 755 {TEXTFILES}",
    )
    unit = here.template(
        "unit.conf.j2",
        f"/etc/systemd/system/{UNIT}.d/hearth.conf",
        values={"user": USER, "folder": FOLDER, "textfiles": TEXTFILES},
    )
    # Before the package, which starts it at once: open to everybody, by itself.
    files.present(name="Confine the node exporter", files=[unit])
    apt.installed(name="Install the node exporter", packages=["prometheus-node-exporter"])
    parts = exporter_files(here)
    files.present(name="Configure the node exporter", files=parts)
    # It reads its certificate and passwords again whenever it is asked.
    systemd.service(
        name="Run the node exporter", unit=UNIT, restart_on=[unit], ports=[here.port("node").number]
    )
    services(here)
    tailnet(here)


def services(here: Here) -> None:
    """Look at the services every half minute, as root: systemd answers nobody else without D-Bus."""
    watch = service_files(here)
    files.present(name="Bring what watches the services", files=watch)
    systemd.service(name="Watch the services", unit=TIMER, restart_on=watch[1:], stays=0.2)


def tailnet(here: Here) -> None:
    """Look at the tailnet every five minutes, where the guest is in one."""
    watch = tailnet_files(here)
    if TAILSCALE in here.guest.roles:
        files.present(name="Bring what looks at the tailnet", files=watch)
        systemd.service(name="Look at the tailnet", unit=TAILNET_TIMER, restart_on=watch[1:], stays=0.2)
        return
    also = [*(file.path for file in watch), f"{TEXTFILES}/hearth_tailnet.prom"]
    systemd.gone(name="Have nothing that looks at the tailnet", unit=TAILNET_TIMER, also=also)


def exporter_files(here: Here) -> list[File]:
    """Its certificate, and who may ask it."""
    certificate = here.certificate()
    return [
        own(f"{FOLDER}/web.yml", web_config({ASKER: bcrypt_hash(here.secrets, PASSWORD)})),
        File(f"{FOLDER}/server.crt", certificate.cert_pem),
        own(f"{FOLDER}/server.key", certificate.key_pem.reveal()),
    ]


def own(path: str, content: str, user: str = USER) -> File:
    """A file that only the exporter may read."""
    return File(path, content, user, user, "600", secret=True)


def service_files(here: Here) -> list[File]:
    """The script, its unit and its timer."""
    values = {"textfiles": TEXTFILES, "library": LIBRARY}
    return [
        here.template("services.sh.j2", f"{LIBRARY}/services", values=values, mode="755"),
        here.template(
            "hearth-metrics.service.j2", "/etc/systemd/system/hearth-metrics.service", values=values
        ),
        here.template("hearth-metrics.timer.j2", "/etc/systemd/system/hearth-metrics.timer", values=values),
    ]


def tailnet_files(here: Here) -> list[File]:
    """The program that asks Tailscale, its unit and its timer."""
    values = {"textfiles": TEXTFILES, "library": LIBRARY}
    units = ("hearth-tailnet-metrics.service", TAILNET_TIMER)
    return [
        File(
            f"{LIBRARY}/tailnet", (here.run.project / "templates/metrics/tailnet.py").read_text(), mode="755"
        ),
        *(here.template(f"{unit}.j2", f"/etc/systemd/system/{unit}", values=values) for unit in units),
    ]

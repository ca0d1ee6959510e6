"""Says back what it hears, turned round, over TLS: the role that a test adds."""

from __future__ import annotations

from hearth.ops import files, shell, systemd
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.declaration import Need, Port, Role, Topic
from hearth.role.here import Here
from hearth.secrets import mqtt_user

role = Role(
    provides=(Port("echo", 7007, tls=True, audience="lan"),),
    needs=(Need("mosquitto", "mqtts", topics=(Topic("echo/#"), Topic("house/+/set", "read"))),),
    secrets=("mqtt/*", "tls/*"),
    packages=("openssl",),
)


@role.deploy
def echo(here: Here) -> None:
    """Certificate, key and login in place, then the service."""
    shell.ensure(
        name="Create echo's user",
        holds="id -u echo",
        command="useradd --system -s /usr/sbin/nologin echo",
    )
    user = mqtt_user(here.secrets, service_user("echo", here.guest.name))
    broker = here.providers("mosquitto.mqtts")[0]
    certificate = here.certificate()
    settings = here.template(
        "echo.env.j2",
        "/etc/echo/env",
        mode="600",
        secret=True,
        values={"user": user.name, "password": user.password.reveal(), "broker": broker.guest.address},
    )
    parts = [
        File("/etc/echo/server.crt", certificate.cert_pem),
        File("/etc/echo/server.key", certificate.key_pem.reveal(), "echo", "echo", "600", secret=True),
        settings,
    ]
    files.present(name="Configure echo", files=parts)
    unit = here.template("echo.service.j2", "/etc/systemd/system/echo.service")
    files.present(name="Describe echo", files=[unit])
    systemd.service(
        name="Run echo", unit="echo.service", restart_on=[*parts, unit], ports=[here.port("echo").number]
    )

"""Publishes and reads without a pause, and has a database: the role whose credentials a test rotates."""

from __future__ import annotations

from hearth.ops import files, systemd
from hearth.role.acl import service_user
from hearth.role.databases import secret_of
from hearth.role.declaration import Need, Role, Topic
from hearth.role.here import Here
from hearth.secrets import mqtt_user, password

role = Role(
    needs=(
        Need("mosquitto", "mqtts", topics=(Topic("courier/#"),)),
        Need("postgresql", "postgres"),
    ),
    secrets=("mqtt/courier-*", "postgresql/courier"),
    packages=("python3-paho-mqtt",),
)


@role.deploy
def courier(here: Here) -> None:
    """The program, its login, and a unit each for publishing and reading."""
    user = mqtt_user(here.secrets, service_user("courier", here.guest.name))
    database = here.secrets.ensure(secret_of("courier"), password).reveal()
    broker = here.providers("mosquitto.mqtts")[0].guest.address
    program = here.template("courier.py", "/usr/local/lib/courier.py")
    login = here.template(
        "env.j2",
        "/etc/courier/env",
        mode="600",
        secret=True,
        values={"user": user, "database": database},
    )
    files.present(name="Configure the courier", files=[program, login])
    for what in ("read", "publish"):
        unit = here.template(
            "courier.service.j2",
            f"/etc/systemd/system/courier-{what}.service",
            values={"what": what, "broker": broker},
        )
        files.present(name=f"Describe the courier that does {what}", files=[unit])
        systemd.service(
            name=f"Run the courier that does {what}",
            unit=f"courier-{what}.service",
            restart_on=[program, login, unit],
        )

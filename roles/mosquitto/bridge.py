"""The bridge of a standby broker to the primary: apps/mqtt_bridge, on the standby's guest.

Not Mosquitto's own, which after a break puts older retained messages over newer ones: docs/services/mqtt.md.
"""

from __future__ import annotations

import json

from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import AUTHORITY, fixed_addresses
from hearth.role.here import Here
from hearth.secrets import mqtt_user

PROGRAM = "/usr/local/lib/hearth/mqtt_bridge"
PARTS = ("__init__.py", "__main__.py", "link.py", "memory.py")
SETTINGS = "/etc/mqtt-bridge/settings.json"
SERVICE = "mqtt-bridge.service"
UNIT = f"/etc/systemd/system/{SERVICE}"
USER = "mqtt-bridge"


def bridge(here: Here) -> None:
    """Keep this guest's broker and the primary alike."""
    apt.installed(name="Install what the bridge is written with", packages=["python3-paho-mqtt"])
    shell.ensure(
        name="Create the bridge's user",
        holds=f"id -u {USER}",
        command=f"useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin {USER}",
    )
    parts = bridge_files(here)
    files.present(
        name="Configure the bridge to the first broker",
        files=parts,
        check=f"cd {{stage}}{PROGRAM}/.. && python3 -B -m mqtt_bridge --check {{stage}}{SETTINGS}",
    )
    unit = here.template(
        "bridge.service.j2", UNIT, values={"user": USER, "program": PROGRAM, "settings": SETTINGS}
    )
    files.present(name="Describe the bridge", files=[unit])
    systemd.service(name="Run the bridge", unit=SERVICE, restart_on=[*parts, unit])


def no_bridge() -> None:
    """Remove the bridge of a broker that has become the first."""
    shell.ensure(
        name="Have no bridge at the first broker",
        holds=f"[ ! -e {UNIT} ]",
        command=f"systemctl -q disable --now {SERVICE}; rm -f {UNIT} {SETTINGS}; systemctl daemon-reload",
    )


def bridge_files(here: Here) -> list[File]:
    """The program and its settings; the settings hold the password."""
    folder = here.run.project / "apps" / "mqtt_bridge"
    parts = [File(f"{PROGRAM}/{name}", (folder / name).read_text()) for name in PARTS]
    return [File(SETTINGS, settings(here), USER, USER, "600", secret=True), *parts]


def settings(here: Here) -> str:
    """Where both brokers are, and who the bridge is there."""
    first = here.providers("mosquitto.mqtts")[0]
    login = mqtt_user(here.secrets, service_user("mosquitto", here.guest.name))
    who = {
        "user": login.name,
        "password": login.password.reveal(),
        "most": here.number("max_queued"),
    }
    host = str(next(iter(fixed_addresses(first.guest)), first.guest.name))
    found = {
        "guest": here.guest.name,
        "primary": {"host": host, "port": first.port.number, "ca": AUTHORITY, **who},
        "standby": {"host": "127.0.0.1", "port": here.port("mqtt").number, **who},
    }
    return json.dumps(found, indent=2) + "\n"

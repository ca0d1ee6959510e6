"""Mosquitto, the MQTT broker: TLS on 8883, and 1883 for the LAN; a user for every service and device."""

from __future__ import annotations

from dataclasses import dataclass

from hearth.errors import HearthError
from hearth.ops import files, systemd
from hearth.ops.files import File
from hearth.role.acl import MqttUser, acl_text, mqtt_users, with_logins
from hearth.role.declaration import Directory, Need, Port, Role, Topic
from hearth.role.here import Here
from hearth.secrets import MqttUser as Login
from hearth.secrets import SecretStore, mqtt_logins
from roles.mosquitto.bridge import bridge, no_bridge

SAVE = "/usr/local/lib/hearth/mosquitto-save"
UNIT = "mosquitto.service"
LEVELS = ("error", "warning", "notice", "information", "debug")

role = Role(
    provides=(
        Port("mqtts", 8883, tls=True, audience="lan", door=True, devices=True, health="mqtt"),
        Port("mqtt", 1883, audience="lan", door=True, devices=True, health="mqtt"),
    ),
    # The first broker of the fleet file is the primary; every further one is bridged to it.
    needs=(Need("mosquitto", "mqtts", topics=(Topic("#"), Topic("$SYS/broker/uptime", "read"))),),
    state=(Directory("/var/lib/mosquitto", before=f"sh {SAVE}", units=(UNIT,)),),
    secrets=("mqtt/*", "mqtt-salt/*", "tls/*"),
    packages=("mosquitto",),
)


@dataclass(frozen=True)
class Broker:
    """The broker's files, by what a change of them takes.

    Args:
        scratch: the program that proves them.
        restarted: read at the start only.
        reloaded: read again on a reload.
        unit: systemd's drop-in.
    """

    scratch: File
    restarted: File
    reloaded: tuple[File, ...]
    unit: File


@role.deploy
def mosquitto(here: Here) -> None:
    """Put all of the broker's files in place after a scratch start has proven them together."""
    broker = broker_files(here)
    files.present(
        name="Configure Mosquitto",
        files=[broker.scratch, broker.restarted, *broker.reloaded],
        check="sh {candidate} {stage}",
    )
    save = here.template("save.sh", SAVE, mode="755")
    files.present(name="Confine Mosquitto", files=[broker.unit])
    files.present(name="Bring what has Mosquitto save its memory", files=[save])
    here.restore_state()
    systemd.service(
        name="Run Mosquitto",
        unit=UNIT,
        restart_on=[broker.restarted, broker.unit],
        reload_on=broker.reloaded,
        ports=[port.number for port in role.provides],
    )
    if here.providers("mosquitto.mqtts")[0].guest.name == here.guest.name:
        no_bridge()
    else:
        bridge(here)


@role.logs(unit=UNIT, step="reload")
def log_files(here: Here) -> tuple[File, ...]:
    """What holds its log level."""
    return broker_files(here).reloaded[:1]


def broker_files(here: Here) -> Broker:
    """All of the broker's files on this guest."""
    users = mqtt_users(here.fleet, here.roles, here.value("devices"), here.phones.names)
    certificate = here.certificate()
    types = log_types(here.value("log_level"))
    return Broker(
        scratch=here.template(
            "scratch-start.sh", "/usr/local/lib/hearth/mosquitto-scratch-start", mode="755"
        ),
        restarted=here.template("mosquitto.conf.j2", "/etc/mosquitto/mosquitto.conf"),
        reloaded=(
            here.template(
                "settings.conf.j2", "/etc/mosquitto/hearth.d/settings.conf", values={"types": types}
            ),
            own("/etc/mosquitto/passwords", password_text(users, here.secrets)),
            own("/etc/mosquitto/acl", acl_text(with_logins(users, login_names(users, here.secrets)))),
            File("/etc/mosquitto/tls/server.crt", certificate.cert_pem),
            own("/etc/mosquitto/tls/server.key", certificate.key_pem.reveal()),
        ),
        unit=here.template("unit.conf.j2", "/etc/systemd/system/mosquitto.service.d/hearth.conf"),
    )


def own(path: str, content: str) -> File:
    """A file that only the broker may read, and owns: later versions will refuse others' (2.0.18 warns)."""
    return File(path, content, "mosquitto", "mosquitto", "600", secret=True)


def password_text(users: tuple[MqttUser, ...], secrets: SecretStore) -> str:
    """The password file: `name:$7$...` a login. Salts are kept: the same password gives the same line."""
    logins = [login for user in users for login in _logins(secrets, user)]
    return "".join(f"{login.name}:{login.hash.reveal()}\n" for login in logins)


def login_names(users: tuple[MqttUser, ...], secrets: SecretStore) -> dict[str, tuple[str, ...]]:
    """User -> the names that it may log in with: two while its password is rotated."""
    return {user.name: tuple(login.name for login in _logins(secrets, user)) for user in users}


def _logins(secrets: SecretStore, user: MqttUser) -> list[Login]:
    """By name: which of two is in use changes nothing at the broker."""
    return sorted(mqtt_logins(secrets, user.name), key=lambda login: login.name)


def log_types(level: str) -> tuple[str, ...]:
    """Mosquitto's log types for a level: it and all that are graver.

    Raises:
        HearthError: there is no such level.
    """
    if level not in LEVELS:
        raise HearthError(
            "configure Mosquitto", f"mosquitto_log_level is {level!r}", f"use one of {', '.join(LEVELS)}"
        )
    return LEVELS[: LEVELS.index(level) + 1]

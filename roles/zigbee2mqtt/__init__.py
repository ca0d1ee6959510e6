"""Zigbee2MQTT: Zigbee devices as MQTT topics and in Home Assistant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from hearth.errors import HearthError
from hearth.ops import files, release, runtime, shell
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import AUTHORITY, fixed_addresses
from hearth.role.declaration import Directory, Need, Port, Role, Topic
from hearth.role.here import Here
from hearth.secrets import mqtt_user, password

from . import network, settings

APP = "zigbee2mqtt"
USER = "zigbee2mqtt"
DATA = "/var/lib/zigbee2mqtt"
CONFIG = "/etc/zigbee2mqtt"
LIBRARY = "/usr/local/lib/hearth/zigbee2mqtt"
GUARD = f"{LIBRARY}/keep-network.cjs"
UNIT = "zigbee2mqtt.service"
TOKEN = "zigbee2mqtt/frontend-token"
IPV6 = 6
WITHIN = 90  # seconds: a radio that was never used forms its network in the first minute

role = Role(
    provides=(
        Port("web", 8080, tls=True, behind=18080, audience="lan", door=False, health="http", path="/"),
    ),
    needs=(
        Need(
            "mosquitto",
            "mqtts",
            topics=(
                Topic("zigbee2mqtt/#"),
                # Its own old announcements are read at each start, and taken back where devices have gone.
                Topic("homeassistant/#", "read"),
                Topic("homeassistant/+/+/+/config", "write"),
            ),
        ),
    ),
    # database.db, configuration.yaml, coordinator_backup.json: devices and network.
    state=(Directory(DATA, before=f"python3 -B {LIBRARY}/backup.py", units=(UNIT,)),),
    secrets=("zigbee2mqtt/*", "mqtt/zigbee2mqtt-*"),
    packages=("ca-certificates", "curl", "python3-paho-mqtt"),
)


@role.deploy
def zigbee2mqtt(here: Here) -> None:
    """Build the release, keep the network, and start it once its own code has accepted the settings."""
    here.refuse_a_second_guest("they would share one network key and one MQTT topic")
    ident = _built(here)
    shell.ensure(
        name="Give Zigbee2MQTT its user and data folder",
        holds=f"id -u {USER} && [ -d {DATA} ] && {_nothing_older(here)}",
        command=here.render("folder.sh.j2", user=USER, data=DATA, older=here.value("older_data")),
    )
    asks = [here.template("backup.py", f"{LIBRARY}/backup.py"), asked(here)]
    files.present(name="Bring what asks Zigbee2MQTT for its coordinator's backup", files=asks)
    here.restore_state()
    network.kept(name="Keep the Zigbee network", store=here.secrets, folder=DATA)
    unit = here.template("zigbee2mqtt.service.j2", f"/etc/systemd/system/{UNIT}", values=_unit_values(here))
    config = config_files(here)
    guard = here.template("keep-network.cjs", GUARD)
    files.present(
        name="Configure Zigbee2MQTT",
        files=[*check_files(here), guard, *config],
        check=f"sh {{candidate}} {{stage}} {release.path_of(APP, ident)} {DATA}",
    )
    files.present(name="Confine Zigbee2MQTT", files=[unit])
    web = here.port("web").behind
    assert web is not None
    release.active(
        name="Run Zigbee2MQTT",
        role=here.role,
        app=APP,
        ident=ident,
        unit=UNIT,
        # It serves its frontend only once adapter and broker have answered.
        health=release.http_health(web, "/"),
        restart_on=[*config, guard, unit],
        ports=[web],
        within=WITHIN,
    )


@role.logs(unit=UNIT)
def log_files(here: Here) -> tuple[File, ...]:
    """What holds its log level."""
    return config_files(here)[:2]


def _built(here: Here) -> str:
    """Have Node.js and this release built; the release's name."""
    node = runtime.chosen_node(here.host.data)
    folder = here.run.project / "templates" / here.role.name
    parcels = [
        release.Parcel(name, (folder / name).read_bytes()) for name in ("package.json", "package-lock.json")
    ]
    version = json.loads(parcels[0].content)["dependencies"]["zigbee2mqtt"]
    build = here.render("build.sh.j2", node=node.path)
    ident = release.ident_of(version, build, *(parcel.content for parcel in parcels))
    runtime.node(name="Install Node.js", pin=node)
    release.built(
        name="Build Zigbee2MQTT", app=APP, ident=ident, build=build, parcels=parcels, uses=(node.path,)
    )
    return ident


def _nothing_older(here: Here) -> str:
    older = here.value("older_data")
    return f"{{ [ -e {DATA}/configuration.yaml ] || [ ! -e {older}/configuration.yaml ]; }}"


def check_files(here: Here) -> tuple[File, ...]:
    """What judges the settings; the first one is called."""
    return (
        here.template("check.sh", f"{LIBRARY}/check.sh", mode="755"),
        here.template("check.cjs", f"{LIBRARY}/check.cjs"),
    )


def config_files(here: Here) -> tuple[File, ...]:
    """The files that Zigbee2MQTT starts with. The network may become known during the run only."""
    ours = managed(here)
    token = here.secrets.ensure(TOKEN, password)
    login = mqtt_user(here.secrets, _user(here)).password

    def wanted() -> dict[str, Any]:
        return settings.with_network(ours, network.from_secrets(here.secrets))

    def secret() -> str:
        key = network.from_secrets(here.secrets).key
        return settings.secret_file(login.reveal(), token.reveal(), key)

    return (
        own(f"{CONFIG}/environment", lambda: settings.environment(wanted())),
        own(f"{CONFIG}/managed.json", lambda: json.dumps(wanted(), indent=1) + "\n"),
        File(f"{CONFIG}/ca.crt", here.authority.ca_pem),
        # Zigbee2MQTT must be able to write it: what is changed in its frontend goes back to where it stood.
        own(f"{DATA}/secret.yaml", secret, USER),
    )


def asked(here: Here) -> File:
    """How backup.py asks Zigbee2MQTT: its own login at the broker, which may use its topics."""
    broker = here.providers("mosquitto.mqtts")[0]
    login = mqtt_user(here.secrets, _user(here))
    found = {
        "host": broker.guest.name,
        "port": broker.port.number,
        "ca": AUTHORITY,
        "user": login.name,
        "password": login.password.reveal(),
        "unit": UNIT,
    }
    return own(f"{CONFIG}/backup.json", lambda: json.dumps(found, indent=1) + "\n")


def own(path: str, content: Callable[[], str], user: str = "root") -> File:
    """A file that nobody else may read."""
    return File(path, content, user, user, "600", secret=True)


def managed(here: Here) -> dict[str, Any]:
    """The settings that Hearth holds, in the shape of configuration.yaml, but for the network's.

    Raises:
        HearthError: the template or the admin's settings are no good.
    """
    broker = here.providers("mosquitto.mqtts")[0]
    text = here.render(
        "configuration.yaml.j2",
        broker={"name": broker.guest.name, "port": broker.port.number},
        ca=f"{CONFIG}/ca.crt",
        user=_user(here),
        login=mqtt_user(here.secrets, _user(here)).name,
        adapter=_adapter(here),
        web=here.port("web"),
        address=_in_url(here),
    )
    try:
        ours = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HearthError(
            "read templates/zigbee2mqtt/configuration.yaml.j2", " ".join(str(error).split()), "mend it"
        ) from None
    return settings.merged(ours, here.value("settings"))


def _user(here: Here) -> str:
    return service_user(here.role.name, here.guest.name)


def _in_url(here: Here) -> str:
    address = next(iter(fixed_addresses(here.guest)), None)
    return f"[{address}]" if address and address.version == IPV6 else str(address or here.guest.name)


def _adapter(here: Here) -> settings.Adapter:
    return settings.adapter(here.value("adapter"), here.value("adapter_type"), here.guest.devices)


def _unit_values(here: Here) -> dict[str, Any]:
    return {
        "current": release.current(APP),
        "data": DATA,
        "environment": f"{CONFIG}/environment",
        "guard": GUARD,
        "device": _adapter(here).device,
    }

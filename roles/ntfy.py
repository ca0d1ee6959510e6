"""ntfy: messages to phones, from a server of one's own.

It listens on loopback; HAProxy (role front) serves 2586 with TLS. Nobody reads or writes without a login:
roles that need `ntfy.web` get one, and so do the readers of group_data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from hearth.errors import HearthError
from hearth.ops import fetched, files, release, shell
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.certificates import FRONT_DOOR
from hearth.role.declaration import Directory, Port, Role
from hearth.role.here import Here
from hearth.role.telling import HEARTBEAT, TOPIC, secret_of
from hearth.role.tokens import CLIENT
from hearth.secrets.hashed import bcrypt_hash

APP = USER = "ntfy"
DATA = "/var/lib/ntfy"
CONFIG = "/etc/ntfy/server.yml"
LIBRARY = "/usr/local/lib/hearth/ntfy"
UNIT = "ntfy.service"
BEHIND = 12586
PROOF = "./ntfy --help"
TRY_PORT = 12587
# Who of the roles may do what; readers read the alerts.
RIGHTS = {
    "alerts": {TOPIC: "write-only", HEARTBEAT: "write-only"},
    "dead_man": {TOPIC: "write-only", HEARTBEAT: "read-only"},
}

role = Role(
    provides=(
        Port(
            "web",
            2586,
            tls=True,
            behind=BEHIND,
            audience="lan",
            door=True,
            health="http",
            path="/v1/health",
        ),
    ),
    state=(Directory(DATA, units=(UNIT,)),),
    secrets=("ntfy/*",),
    packages=fetched.PACKAGES,
)


@role.deploy
def ntfy(here: Here) -> None:
    """Take the program, try its settings, and run it."""
    here.refuse_a_second_guest("a phone listens to one of them")
    source = fetched.chosen(here.value("source"), "ntfy_source")
    ident = fetched.ident(source, APP, PROOF)
    fetched.program(name="Take ntfy", app=APP, source=source, program=APP, proof=PROOF)
    shell.ensure(
        name="Give ntfy its user and data folder",
        holds=f"id -u {USER} && [ -d {DATA} ]",
        command=here.render("folder.sh.j2", user=USER, data=DATA),
    )
    values = {
        "user": USER,
        "data": DATA,
        "config": CONFIG,
        "behind": BEHIND,
        "port": TRY_PORT,
        "release": release.path_of(APP, ident),
        "current": release.current(APP),
    }
    tried = here.template("try.sh.j2", f"{LIBRARY}/try", values=values, mode="755")
    files.present(name="Bring the program that tries its settings", files=[tried])
    config = configuration(here)
    files.present(name="Configure ntfy", files=[config], check=f"sh {LIBRARY}/try {{candidate}}")
    unit = here.template("ntfy.service.j2", f"/etc/systemd/system/{UNIT}", values=values)
    files.present(name="Describe ntfy", files=[unit])
    release.active(
        name="Run ntfy",
        role=here.role,
        app=APP,
        ident=ident,
        unit=UNIT,
        health=release.http_health(BEHIND, "/v1/health"),
        restart_on=[config, unit],
        ports=[BEHIND],
    )


@role.logs(unit=UNIT)
def log_files(here: Here) -> list[File]:
    """What holds its log level."""
    return [configuration(here)]


def configuration(here: Here) -> File:
    """Its settings; users and their rights are among them, with hashes.

    Raises:
        HearthError: group_data sets what is Hearth's, or a reader's name is none.
    """
    users = dict(_services(here)) | {name: {TOPIC: "read-only"} for name in readers(here)}
    own: dict[str, Any] = {
        "base-url": base_url(here),
        "listen-http": f"127.0.0.1:{BEHIND}",
        "behind-proxy": True,
        "cache-file": f"{DATA}/cache.db",
        "cache-duration": here.value("keep"),
        "auth-file": f"{DATA}/auth.db",
        "auth-default-access": "deny-all",
        "auth-users": [f"{name}:{bcrypt_hash(here.secrets, secret_of(name))}:user" for name in users],
        "auth-access": [
            f"{name}:{topic}:{right}" for name, rights in users.items() for topic, right in rights.items()
        ],
        "enable-login": True,
        "enable-signup": False,
        # The home's own services send from loopback's and the LAN's addresses: they are no strangers.
        "visitor-request-limit-burst": 1000,
        "log-level": here.value("log_level"),
        "log-format": "text",
    }
    further: dict[str, Any] = here.value("settings")
    ours = sorted(set(own) & set(further))
    if ours:
        raise HearthError(f"set {', '.join(ours)} for ntfy", "Hearth sets it", "take it out of ntfy_settings")
    text = yaml.safe_dump({**own, **further}, sort_keys=False, width=1000)
    return File(CONFIG, f"# Written by Hearth.\n{text}", "root", USER, "640", secret=True)


def base_url(here: Here) -> str:
    """Where phones find it: the front door, where there is one, else this guest."""
    named = here.value("url")
    if named:
        return str(named).rstrip("/")
    door = next(iter(here.fleet.with_role(FRONT_DOOR)), here.guest)
    return f"https://{door.address}:{here.port('web').number}"


def _services(here: Here) -> Iterator[tuple[str, dict[str, str]]]:
    """A user for each guest's role that needs ntfy."""
    for guest in here.fleet.guests:
        for name in guest.roles:
            needs = here.roles[name].needs if name in here.roles else ()
            if any((need.role, need.port) == (here.role.name, "web") for need in needs):
                yield service_user(name, guest.name), RIGHTS.get(name, {TOPIC: "write-only"})


def readers(here: Here) -> list[str]:
    """The people whose phones are told.

    Raises:
        HearthError: a name is none.
    """
    found = here.value("readers")
    if not isinstance(found, list) or not all(
        isinstance(name, str) and CLIENT.fullmatch(name) for name in found
    ):
        raise HearthError(
            "let people read alerts", f"ntfy_readers is {found!r}", 'write e.g. ["anna", "tablet"]'
        )
    return found

"""Vaultwarden: the home's passwords, for Bitwarden's apps.

Its official image runs as a sandboxed unit (`unpacked`) or by Podman (`quadlet`); data, settings and checks
are the same. It listens on loopback; HAProxy (role front) serves 8443 with TLS.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from typing import Any

from argon2.low_level import Type, hash_secret

from hearth.errors import HearthError
from hearth.ops import apt, files, image, quadlet, release, shell
from hearth.ops.files import File
from hearth.ops.image import Image
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Directory, Port, Role
from hearth.role.here import Here
from hearth.secrets import Secret, SecretStore, password

APP = "vaultwarden"
USER = "vaultwarden"
UID = 60_700  # the same in and out of a container; systemd.io/UIDS-GIDS leaves it to nobody
DATA = "/var/lib/vaultwarden"
ENVIRONMENT = "/etc/vaultwarden/environment"
LIBRARY = "/usr/local/lib/hearth/vaultwarden"
UNIT = "vaultwarden.service"
TOKEN, SALT = "vaultwarden/admin-token", "vaultwarden/admin-token-salt"
SCRATCH_PORT = 18444  # where a candidate is tried, on loopback
SALT_BYTES = 32
NAME = re.compile(r"[A-Z][A-Z0-9_]*")
INSTALLS = ("unpacked", "quadlet")
IPV6 = 6

role = Role(
    provides=(
        Port("web", 8443, tls=True, behind=18443, audience="lan", door=False, health="http", path="/alive"),
    ),
    state=(Directory(DATA, dump=f"sh {LIBRARY}/dump", restore=f"sh {LIBRARY}/restore"),),
    secrets=("vaultwarden/*",),
    packages=("curl", "sqlite3"),
)


@role.deploy
def vaultwarden(here: Here) -> None:
    """Take the image, try it with the settings on a copy of the vault, and run it."""
    here.refuse_a_second_guest("each would have a vault of its own and the same admin token")
    found = image.image(here.value("image"), bool(here.value("image_insecure")))
    contained = _contained(here)
    _taken(found, contained)
    shell.ensure(
        name="Give Vaultwarden its user and data folder",
        holds=f'[ "$(id -u {USER})" = {UID} ] && [ -d {DATA} ]',
        command=here.render("folder.sh.j2", user=USER, uid=UID, data=DATA),
    )
    programs = scripts(here, found, contained)
    files.present(name="Bring the programs that try, dump and restore the vault", files=programs)
    here.restore_state()
    config = environment(here, found)
    files.present(name="Configure Vaultwarden", files=[config], check=f"sh {LIBRARY}/try {{candidate}}")
    unit = _described(here, found, contained)
    release.active(
        name="Run Vaultwarden",
        role=here.role,
        app=APP,
        ident=found.ident,
        unit=UNIT,
        health=release.http_health(_behind(here), "/alive"),
        restart_on=[config, unit],
        ports=[_behind(here)],
        within=here.number("starts_within"),
    )


@role.logs(unit=UNIT)
def log_files(here: Here) -> list[File]:
    """What holds its log level."""
    return [environment(here, image.image(here.value("image"), bool(here.value("image_insecure"))))]


def _contained(here: Here) -> bool:
    install = here.value("install")
    if install not in INSTALLS:
        raise HearthError(
            f"install Vaultwarden on {here.guest.name}",
            f"vaultwarden_install is {install!r}",
            f"use one of {', '.join(INSTALLS)}",
        )
    return bool(install == "quadlet")


def _taken(found: Image, contained: bool) -> None:
    if not contained:
        apt.installed(name="Install what takes images apart", packages=image.PACKAGES)
        image.unpacked(name="Take Vaultwarden's image", app=APP, image=found)
        return
    apt.installed(name="Install Podman", packages=["podman"])
    quadlet.pulled(name="Take Vaultwarden's image", reference=found.pinned, insecure=found.insecure)
    # What a release brings back is the quadlet, which names the image.
    release.built(
        name="Note Vaultwarden's image", app=APP, ident=found.ident, build=f"echo {found.pinned} >image"
    )


def scripts(here: Here, found: Image, contained: bool) -> list[File]:
    """The programs that try a candidate, dump the vault and bring it back."""
    values = {
        "user": USER,
        "uid": UID,
        "data": DATA,
        "unit": UNIT,
        "library": LIBRARY,
        "scratch_port": SCRATCH_PORT,
        "health": release.http_health(_behind(here), "/alive"),
        "release": release.path_of(APP, found.ident),
        "image": found.pinned,
        "contained": contained,
        "behind": _behind(here),
        "within": here.number("starts_within"),
    }
    names = ("try", "copy", "dump", "restore")
    return [here.template(f"{name}.sh.j2", f"{LIBRARY}/{name}", values=values, mode="755") for name in names]


def environment(here: Here, found: Image) -> File:
    """Its settings, which hold the admin token's hash and may hold passwords: root's alone."""
    lines = [f"{name}={quoted(name, value)}" for name, value in settings(here).items()]
    # A new image has to be tried with the settings too: its name makes this another file.
    text = "\n".join([f"# Written by Hearth for {found.ident}", *lines, ""])
    return File(ENVIRONMENT, text, mode="600", secret=True)


def settings(here: Here) -> dict[str, str]:
    """Every setting by its name, as text.

    Raises:
        HearthError: one that is ours stands in group_data, or is no setting.
    """
    held = {
        "DOMAIN": domain(here),
        "SIGNUPS_ALLOWED": "false",
        "INVITATIONS_ALLOWED": "true" if here.value("invitations") else "false",
        "ADMIN_TOKEN": admin_token(here.secrets).reveal(),
        "DISABLE_ADMIN_TOKEN": "false",
        "ROCKET_ADDRESS": "127.0.0.1",
        "ROCKET_PORT": str(_behind(here)),
        "DATA_FOLDER": "/data",
        # HAProxy sets it, and takes away what a client says of itself.
        "IP_HEADER": "X-Real-IP",
        "LOG_LEVEL": str(here.value("log_level")),
    }
    secret = {name: here.secrets.get(kept).reveal() for name, kept in here.value("secret_settings").items()}
    further = {name: _text(value) for name, value in here.value("settings").items()} | secret
    for name in further:
        reason = "Hearth sets it" if name in held else "" if NAME.fullmatch(str(name)) else "that is no name"
        if reason:
            raise HearthError(
                f"set {name} for Vaultwarden", reason, "take it out of group_data/vaultwarden.py"
            )
    return held | further


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def quoted(name: str, value: str) -> str:
    """A value as systemd's `EnvironmentFile=` takes it (systemd.exec(5)): in double quotes, nothing expanded.

    Raises:
        HearthError: it has a line break.
    """
    if any(ord(c) < ord(" ") for c in value):
        raise HearthError(f"set {name} for Vaultwarden", "its value has a line break or control character")
    return '"' + re.sub(r'([\\"`$])', r"\\\1", value) + '"'


def domain(here: Here) -> str:
    """The URL at which people find it, without a slash at the end.

    Raises:
        HearthError: group_data names one that is not https.
    """
    chosen = here.value("domain")
    if chosen is None:
        address = next(iter(fixed_addresses(here.guest)), None)
        at = f"[{address}]" if address and address.version == IPV6 else str(address or here.guest.name)
        return f"https://{at}:{here.port('web').number}"
    if not re.fullmatch(r"https://[^\s/]+(/[^\s]*[^\s/])?", str(chosen)):
        raise HearthError(
            "tell Vaultwarden where it is found",
            f"vaultwarden_domain is {chosen!r}",
            "write https://NAME:8443, without a slash at the end",
        )
    return str(chosen)


def admin_token(store: SecretStore) -> Secret:
    """What stands for the admin page's token on the guest: its argon2id hash (PHC string).

    The salt is stored, so the hash changes only with the token. Costs are those of `vaultwarden hash`
    (its preset "bitwarden", src/main.rs): 64 MiB, 3 rounds, 4 lanes.

    Raises:
        HearthError: the stored salt is damaged.
    """
    token = store.ensure(TOKEN, password)
    salt = store.ensure(SALT, lambda: base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode("ascii"))
    try:
        raw = base64.b64decode(salt.reveal(), validate=True)
        if len(raw) != SALT_BYTES:
            raise ValueError
    except ValueError:
        raise HearthError(
            "hash the token of Vaultwarden's admin page",
            "its stored salt is damaged",
            f"hearth secrets remove {SALT}",
        ) from None
    return Secret(hash_secret(token.reveal().encode(), raw, 3, 65_540, 4, 32, Type.ID).decode("ascii"))


def _behind(here: Here) -> int:
    behind = here.port("web").behind
    assert behind is not None
    return behind


def _described(here: Here, found: Image, contained: bool) -> File:
    """The unit in place; the file that describes it."""
    if contained:
        values: Mapping[str, Any] = {
            "image": found.pinned,
            "names": list(settings(here)),
            "data": DATA,
            "uid": UID,
            "environment": ENVIRONMENT,
        }
        described = here.template(
            "vaultwarden.container.j2", f"{quadlet.FOLDER}/vaultwarden.container", values=values
        )
        quadlet.present(name="Confine Vaultwarden", quadlets=[described])
        return described
    # Not by the link `current`: systemd 252 fails with EBUSY where one leads to RootDirectory. So a way back
    # is the old unit; `active` keeps it.
    values = {"release": release.path_of(APP, found.ident), "data": DATA, "environment": ENVIRONMENT}
    described = here.template("vaultwarden.service.j2", f"/etc/systemd/system/{UNIT}", values=values)
    files.present(name="Confine Vaultwarden", files=[described])
    return described

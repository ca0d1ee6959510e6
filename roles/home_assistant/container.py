"""Home Assistant's official image, run by Podman from a quadlet (podman-systemd.unit(5)); on Debian 13."""

from __future__ import annotations

import re

from hearth.errors import HearthError
from hearth.ops import apt, quadlet, release
from hearth.role.here import Here

from .configuration import CONFIG, NAME, Configuration, configuration
from .place import LIBRARY, UNIT, USER, WITHIN, configure, health, place

QUADLET = f"{quadlet.FOLDER}/{NAME}.container"
# The container's root is this user of the guest, and its other users follow: none of them is anybody here.
UID = 900_000
USERS = 65_536
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def container(here: Here, port: int, web: dict[str, object]) -> Configuration:
    """Fetch, configure and run it; its configuration.

    Args:
        here: the guest.
        port: where it listens on loopback.
        web: settings of its web server.
    """
    image = reference(here)
    apt.installed(name="Install Podman", packages=["podman", "python3", "uidmap"])
    quadlet.pulled(name="Take Home Assistant's image", reference=image)
    ident = release.ident_of(str(here.value("version")), image)
    # What goes back with a bad image is the quadlet, which names it: the release is its name alone.
    release.built(name="Note Home Assistant's image", app=NAME, ident=ident, build=f"echo {image} >image")
    found = configuration(here, USER)
    place(here, port, web, UID)
    values = {"image": image, "uid": UID, "users": USERS, "config": CONFIG, "library": LIBRARY}
    judge = here.template("container-check.sh.j2", f"{LIBRARY}/check-in-container", values=values, mode="755")
    configure(here, found, judge.path, (judge,))
    run(here, found, values, ident, port)
    return found


def reference(here: Here) -> str:
    """The image's name with its version, and with its digest where one is set.

    Raises:
        HearthError: the digest is none.
    """
    digest = here.value("image_digest")
    if digest and not DIGEST.fullmatch(digest):
        raise HearthError(
            "take Home Assistant's image",
            f"home_assistant_image_digest is {digest!r}",
            "write sha256: and 64 hexadecimal digits, or nothing",
        )
    return f"{here.value('image')}:{here.value('version')}" + (f"@{digest}" if digest else "")


def run(here: Here, found: Configuration, values: dict[str, object], ident: str, port: int) -> None:
    """The service, healthy; else the image and the files that worked before."""
    unit = here.template("home-assistant.container.j2", QUADLET, values=values)
    quadlet.present(name="Confine Home Assistant", quadlets=[unit])
    release.active(
        name="Run Home Assistant",
        role=here.role,
        app=NAME,
        ident=ident,
        unit=UNIT,
        restart_on=[*found.restarted, unit],
        health=health("python3", port, found.domains),
        ports=[port],
        within=WITHIN,
    )

"""Home Assistant's official image, run by Podman from a quadlet (podman-systemd.unit(5)); on Debian 13."""

from __future__ import annotations

from hearth.ops import apt, files, release, shell
from hearth.role.here import Here

from .configuration import CONFIG, NAME, Configuration, configuration
from .place import LIBRARY, UNIT, USER, WITHIN, configure, health, place

QUADLET = f"/etc/containers/systemd/{NAME}.container"
GENERATOR = "/usr/libexec/podman/quadlet"
# The container's root is this user of the guest, and its other users follow: none of them is anybody here.
UID = 900_000
USERS = 65_536


def container(here: Here, port: int, web: dict[str, object]) -> Configuration:
    """Fetch, configure and run it; its configuration.

    Args:
        here: the guest.
        port: where it listens on loopback.
        web: settings of its web server.
    """
    image = f"{here.value('image')}:{here.value('version')}"
    apt.installed(name="Install Podman", packages=["podman", "python3", "uidmap"])
    shell.ensure(
        name="Find a Podman that knows quadlets",
        holds=f"[ -x {GENERATOR} ]",
        command="echo 'cannot run Home Assistant as a container: this Debian has an older Podman than 4.4 "
        "(give the guest an image of Debian 13, or set home_assistant_install)' >&2; exit 1",
    )
    shell.ensure(
        name="Fetch Home Assistant's image",
        holds=f"podman image exists {image}",
        command=f"podman pull -q {image}",
    )
    found = configuration(here, USER)
    place(web, UID)
    values = {"image": image, "uid": UID, "users": USERS, "config": CONFIG, "library": LIBRARY}
    judge = here.template("container-check.sh.j2", f"{LIBRARY}/check-in-container", values=values, mode="755")
    configure(here, found, judge.path, (judge,))
    run(here, found, values, port)
    return found


def run(here: Here, found: Configuration, values: dict[str, object], port: int) -> None:
    """The service, healthy; else the image and the files that worked before."""
    quadlet = here.template("home-assistant.container.j2", QUADLET, values=values)
    files.present(
        name="Confine Home Assistant",
        files=[quadlet],
        check=f"QUADLET_UNIT_DIRS=$(dirname {{candidate}}) {GENERATOR} --dryrun >/dev/null",
    )
    image = str(values["image"])
    ident = release.ident_of(str(here.value("version")), image)
    # What goes back with a bad image is the quadlet, which names it: the release is its name alone.
    release.built(name="Note Home Assistant's image", app=NAME, ident=ident, build=f"echo {image} >image")
    release.active(
        name="Run Home Assistant",
        app=NAME,
        ident=ident,
        unit=UNIT,
        restart_on=[*found.restarted, quadlet],
        health=health("python3", port, found.domains),
        ports=[port],
        within=WITHIN,
    )

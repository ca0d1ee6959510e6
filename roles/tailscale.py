"""Tailscale: the guest is in the tailnet, under its own name, with our tag.

The fleet file's section `tailnet` gives every guest this role. Where the guest may not have /dev/net/tun
(`tun: true` in the fleet file), tailscaled carries the tailnet in user space.
"""

from __future__ import annotations

from dataclasses import dataclass

from hearth.ops import apt, fetched, files, release, shell, systemd, tailscale
from hearth.ops.files import File
from hearth.ops.tailscale import Entry, Settings
from hearth.role.declaration import Directory, Need, Port, Role
from hearth.role.here import Here
from hearth.role.tailnet import advertised, has_tun, server_url, tailnet_of

APP = "tailscale"
UNIT = "tailscaled.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
DATA = "/var/lib/tailscale"
KEYRING = "/usr/share/keyrings/tailscale-archive-keyring.gpg"
LIST = "/etc/apt/sources.list.d/tailscale.list"
VENDOR = "vendor"
PROOF = "./tailscale version && ./tailscaled --version"
CLI = "/usr/local/bin/tailscale"

role = Role(
    # WireGuard answers nobody whose key it does not know.
    provides=(Port("wireguard", 41641, protocol="udp", audience="world"),),
    needs=(Need("headscale", "web", optional=True),),
    # Its identity: a guest that comes back with it is not joined again.
    state=(Directory(DATA),),
    secrets=("tailscale/*",),
    packages=fetched.PACKAGES,
)


@dataclass(frozen=True)
class Installed:
    """Where the program is.

    Args:
        daemon: path of tailscaled.
        ident: its release; None where it is a Debian package.
    """

    daemon: str
    ident: str | None = None


@role.deploy
def membership(here: Here) -> None:
    """Install it, run it, join, and keep its settings."""
    tailnet = tailnet_of(here.fleet)
    installed = install(here)
    unit = unit_file(here, installed)
    files.present(name="Describe Tailscale", files=[unit])
    _run(installed, unit)
    settings = wanted(here)
    entry = Entry(
        settings,
        server_url(here.fleet, here.roles),
        tailnet.domain,
        lives=here.number("key_minutes") * 60,
        within=here.number("joins_within", 10),
    )
    tailscale.joined(name="Join the tailnet", entry=entry)
    tailscale.settled(name="Keep Tailscale's settings", settings=settings)
    if settings.routes:
        tailscale.carrying(name="Carry the guest's network for the tailnet", routes=settings.routes)


def install(here: Here) -> Installed:
    """The program: the vendor's Debian package, or a release of ours.

    Raises:
        HearthError: group_data names no source.
    """
    if here.value("source") == VENDOR:
        repository(here)
        apt.installed(name="Install Tailscale", packages=[APP])
        return Installed("/usr/sbin/tailscaled")
    source = fetched.chosen(here.value("source"), "tailscale_source")
    fetched.program(name="Take Tailscale", app=APP, source=source, program=APP, proof=PROOF)
    shell.ensure(
        name="Have Tailscale's command",
        holds=f'[ "$(readlink {CLI})" = {release.current(APP)}/{APP} ]',
        command=f"ln -sfn {release.current(APP)}/{APP} {CLI}",
    )
    return Installed(f"{release.current(APP)}/tailscaled", fetched.ident(source, APP, PROOF))


def repository(here: Here) -> None:
    """The vendor's Debian repository, with the pinned key and no other."""
    values = {
        "keyring": KEYRING,
        "list": LIST,
        "url": here.value("repository"),
        "sha256": here.value("repository_key"),
    }
    shell.ensure(
        name="Trust Tailscale's Debian repository",
        holds=here.render("repository-holds.sh.j2", **values),
        command=here.render("repository.sh.j2", **values),
    )


def unit_file(here: Here, installed: Installed) -> File:
    """Its unit, with walls around it; in place of the package's own."""
    values = {
        "daemon": installed.daemon,
        "data": DATA,
        "tun": has_tun(here.guest),
        "port": here.number("port"),
    }
    return here.template("tailscaled.service.j2", UNIT_FILE, values=values)


def _run(installed: Installed, unit: File) -> None:
    name = "Run Tailscale"
    if installed.ident is None:
        systemd.service(name=name, unit=UNIT, restart_on=[unit])
        return
    release.active(
        name=name,
        app=APP,
        ident=installed.ident,
        unit=UNIT,
        health="tailscale status --json --peers=false >/dev/null",
        restart_on=[unit],
    )


def wanted(here: Here) -> Settings:
    """Its settings on this guest."""
    return Settings(
        hostname=here.guest.name,
        accept_dns=bool(here.value("accept_dns")),
        accept_routes=bool(here.value("accept_routes")),
        routes=advertised(here.guest, here.fleet),
    )

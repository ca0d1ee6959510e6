"""Tailscale: the guest is in the tailnet, under its own name, with our tag.

The fleet file's section `tailnet` gives every guest this role. Where the guest may not have /dev/net/tun
(`tun: true` in the fleet file), tailscaled carries the tailnet in user space.
"""

from __future__ import annotations

from hearth.ops import apt, fetched, files, release, shell, systemd, tailscale
from hearth.ops.fetched import Source
from hearth.ops.files import File
from hearth.role.declaration import Directory, Need, Port, Role
from hearth.role.here import Here
from hearth.role.tailnet import advertised, has_tun, server_url, tailnet_of
from hearth.tailnet.membership import Entry, Settings

APP = "tailscale"
USER = "tailscale"
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
    state=(Directory(DATA, units=(UNIT,)),),
    secrets=("tailscale/*",),
    packages=fetched.PACKAGES,
)


@role.deploy
def membership(here: Here) -> None:
    """Install it, run it, join, and keep its settings."""
    tailnet = tailnet_of(here.fleet)
    source = chosen(here)
    unit = unit_file(here, source)
    shell.ensure(
        name="Give Tailscale its user",
        holds=f"id -u {USER}",
        command=f"useradd --system --user-group --home-dir {DATA} --no-create-home "
        f"--shell /usr/sbin/nologin {USER}",
    )
    here.restore_state()
    # Before the vendor's package, which starts whatever unit there is.
    files.present(name="Describe Tailscale", files=[unit])
    if source is None:
        repository(here)
        apt.installed(name="Install Tailscale", packages=[APP])
        systemd.service(name="Run Tailscale", unit=UNIT, restart_on=[unit])
    else:
        released(here, source, unit)
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


def chosen(here: Here) -> Source | None:
    """Where the program comes from; None: the vendor's Debian repository.

    Raises:
        HearthError: group_data names no source.
    """
    given = here.value("source")
    return None if given == VENDOR else fetched.chosen(given, "tailscale_source")


def released(here: Here, source: Source, unit: File) -> None:
    """The program as a release of ours, running."""
    fetched.program(name="Take Tailscale", app=APP, source=source, program=APP, proof=PROOF)
    shell.ensure(
        name="Have Tailscale's command",
        holds=f'[ "$(readlink {CLI})" = {release.current(APP)}/{APP} ]',
        command=f"ln -sfn {release.current(APP)}/{APP} {CLI}",
    )
    release.active(
        name="Run Tailscale",
        role=here.role,
        app=APP,
        ident=fetched.ident(source, APP, PROOF),
        unit=UNIT,
        health="tailscale status --json --peers=false >/dev/null",
        restart_on=[unit],
    )


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


def unit_file(here: Here, source: Source | None) -> File:
    """Its unit, in place of the package's own: a user without rights but those that its work takes."""
    tun, dns = has_tun(here.guest), bool(here.value("accept_dns"))
    # It writes resolv.conf as nobody else may.
    rights = [*(["CAP_NET_ADMIN"] if tun else []), *(["CAP_DAC_OVERRIDE"] if dns else [])]
    values = {
        "daemon": "/usr/sbin/tailscaled" if source is None else f"{release.current(APP)}/tailscaled",
        "data": DATA,
        "user": USER,
        "tun": tun,
        "dns": dns,
        "rights": " ".join(rights),
        "port": here.port("wireguard").number,
    }
    return here.template("tailscaled.service.j2", UNIT_FILE, values=values)


def wanted(here: Here) -> Settings:
    """Its settings on this guest."""
    return Settings(
        hostname=here.guest.name,
        accept_dns=bool(here.value("accept_dns")),
        accept_routes=bool(here.value("accept_routes")),
        routes=advertised(here.guest, here.fleet),
    )

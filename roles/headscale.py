"""headscale: a coordination server of one's own, in Tailscale's place.

It listens on loopback; HAProxy (role front) serves it with TLS. Its relay (DERP) is part of it. The policy is
in its database, where the API can replace it; Hearth's own API key is made here.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import yaml

from hearth.errors import HearthError
from hearth.ops import fetched, files, headscale, release, shell
from hearth.ops.fetched import Source
from hearth.ops.files import File
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Directory, Port, Role
from hearth.role.here import Here
from hearth.role.tailnet import server_url, tailnet_of

APP = "headscale"
USER = "headscale"
DATA = "/var/lib/headscale"
CONFIG = "/etc/headscale/config.yaml"
LIBRARY = "/usr/local/lib/hearth/headscale"
UNIT = "headscale.service"
BEHIND, STUN, METRICS = 18480, 3478, 18490
PROOF = "./headscale version"
IPV6 = 6
# tailscale.com/net/tsaddr: CGNATRange, TailscaleULARange
TAILNETS = {"prefix4": ip_network("100.64.0.0/10"), "prefix6": ip_network("fd7a:115c:a1e0::/48")}

role = Role(
    provides=(
        # Phones that are not at home come in here: the router passes it on.
        Port("web", 443, tls=True, behind=BEHIND, audience="world", health="http", path="/health"),
        # Devices learn here how their router shows them to the world (RFC 8489).
        Port("stun", STUN, protocol="udp", audience="world", health="stun"),
        Port("metrics", METRICS, audience="host"),
    ),
    state=(Directory(DATA, dump=f"sh {LIBRARY}/dump", restore=f"sh {LIBRARY}/restore"),),
    secrets=(headscale.KEY,),
    packages=(*fetched.PACKAGES, "sqlite3"),
)


@role.deploy
def coordination(here: Here) -> None:
    """Take the program, try it with its settings on a copy of its database, run it, and log in at it."""
    here.refuse_a_second_guest("each would be a tailnet of its own")
    source = fetched.chosen(here.value("source"), "headscale_source")
    ident = fetched.ident(source, APP, PROOF)
    fetched.program(name="Take headscale", app=APP, source=source, program=APP, proof=PROOF)
    shell.ensure(
        name="Give headscale its user and data folder",
        holds=f"id -u {USER} && [ -d {DATA} ]",
        command=here.render("folder.sh.j2", user=USER, data=DATA),
    )
    files.present(name="Bring the programs that try, dump and restore it", files=scripts(here, ident))
    here.restore_state()
    config = configuration(here, source)
    files.present(name="Configure headscale", files=[config], check=f"sh {LIBRARY}/try {{candidate}}")
    unit = here.template("headscale.service.j2", f"/etc/systemd/system/{UNIT}", values=places(ident))
    files.present(name="Describe headscale", files=[unit])
    release.active(
        name="Run headscale",
        role=here.role,
        app=APP,
        ident=ident,
        unit=UNIT,
        health=release.http_health(BEHIND, "/health"),
        restart_on=[config, unit],
        ports=[BEHIND],
    )
    headscale.api_key(
        name="Give Hearth its key to headscale's API",
        command=f"{release.current(APP)}/{APP} -c {CONFIG}",
        days=here.number("api_key_days"),
    )


@role.logs(unit=UNIT)
def log_files(here: Here) -> list[File]:
    """What holds its log level."""
    return [configuration(here, fetched.chosen(here.value("source"), "headscale_source"))]


def check_prefixes(here: Here) -> None:
    """Refuse addresses that Tailscale's clients do not take for a tailnet's; headscale itself does not.

    Raises:
        HearthError: a prefix is none, or lies elsewhere.
    """
    for name, whole in TAILNETS.items():
        given = here.value(name)
        try:
            network = ip_network(str(given))
            inside = network.version == whole.version and network.subnet_of(whole)  # type: ignore[arg-type]
        except ValueError:
            inside = False
        if not inside:
            raise HearthError(
                "choose the tailnet's addresses",
                f"headscale_{name} is {given!r}",
                f"write a subnet of {whole}",
            )


def places(ident: str) -> dict[str, Any]:
    """What its scripts and its unit have to know."""
    return {
        "user": USER,
        "data": DATA,
        "unit": UNIT,
        "config": CONFIG,
        "library": LIBRARY,
        "release": release.path_of(APP, ident),
        "current": release.current(APP),
        "health": release.http_health(BEHIND, "/health"),
    }


def scripts(here: Here, ident: str) -> list[File]:
    """The programs that try a candidate, dump the state and bring it back."""
    return [
        here.template(f"{name}.sh.j2", f"{LIBRARY}/{name}", values=places(ident), mode="755")
        for name in ("try", "copy", "dump", "restore")
    ]


def configuration(here: Here, source: Source) -> File:
    """Its settings; the program's hash makes them another file, so that a new one is tried with them too.

    Raises:
        HearthError: group_data sets what is Hearth's.
    """
    addresses = fixed_addresses(here.guest)
    check_prefixes(here)
    values = {
        "sha256": source.sha256,
        "server_url": server_url(here.fleet, here.roles),
        "domain": tailnet_of(here.fleet).domain,
        "behind": BEHIND,
        "stun": STUN,
        "metrics": METRICS,
        "data": DATA,
        "address4": next((str(found) for found in addresses if found.version != IPV6), None),
        "address6": next((str(found) for found in addresses if found.version == IPV6), None),
    }
    own = here.render("config.yaml.j2", **values, further="")
    further: dict[str, Any] = here.value("settings")
    ours = sorted(set(yaml.safe_load(own)) & set(further))
    if ours:
        raise HearthError(
            f"set {', '.join(ours)} for headscale", "Hearth sets it", "take it out of headscale_settings"
        )
    text = yaml.safe_dump(further, sort_keys=False) if further else ""
    return here.template(
        "config.yaml.j2", CONFIG, values={**values, "further": text}, group=USER, mode="640", secret=True
    )

"""HAProxy: HTTPS before every web interface of a guest, and the front door where that guest is it.

Every guest with a port `behind` gets this role by itself, and so does the front door's guest. What is served
follows from the roles' `provides` (hearth.role.fronted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hearth.errors import HearthError
from hearth.ops import files, systemd
from hearth.ops.files import File
from hearth.role.certificates import AUTHORITY, FRONT_DOOR, fixed_addresses
from hearth.role.declaration import Role
from hearth.role.fronted import Passage, Server, Web, passages, shareable, webs
from hearth.role.here import Here
from hearth.role.inside import Network, inside_networks, outside_addresses

FOLDER = "/etc/haproxy/hearth"
CONFIG = f"{FOLDER}/haproxy.cfg"
ENDED = f"{FOLDER}/ended"
BALANCES = ("roundrobin", "leastconn", "source")
FIRST = "primary"  # not shared: the first guest serves, the others stand by
BY_ITSELF = "source"  # a client stays with one guest, whose memory may hold its session
VERIFY = ("optional", "required")
HTTP = 80
UNPRIVILEGED = 1024  # below it a capability is needed

role = Role(secrets=("tls/*",), packages=("haproxy",))


@dataclass(frozen=True)
class Proxy:
    """HAProxy's files, by what a change of them takes.

    Args:
        reloaded: configuration, and the certificate where TLS ends here; a reload drops no connection.
        unit: systemd's drop-in.
        ended: the certificates of phones that have ended: a connection that one has opened would outlive a
            reload.
        ports: where it listens afterwards.
    """

    reloaded: tuple[File, ...]
    unit: File
    ended: tuple[File, ...]
    ports: tuple[int, ...]


@role.deploy
def front(here: Here) -> None:
    """HAProxy's files in place after HAProxy itself has accepted them, then a reload."""
    proxy = proxy_files(here)
    files.present(
        name="Configure HAProxy",
        files=proxy.reloaded,
        check="haproxy -c -f {candidate} >/dev/null",  # with -q it would not say why,
    )
    files.present(name="Confine HAProxy", files=[proxy.unit, *proxy.ended])
    systemd.service(
        name="Run HAProxy",
        unit="haproxy.service",
        restart_on=[proxy.unit, *proxy.ended],
        reload_on=proxy.reloaded,
        ports=proxy.ports,
    )


def proxy_files(here: Here) -> Proxy:
    """All of HAProxy's files on this guest."""
    served = webs(here.guest, here.fleet, here.roles)
    passed = passages(here.guest, here.fleet, here.roles)
    redirect = redirected(here, served)
    ports = listening(served, passed, redirect)
    values = {
        "webs": served,
        "passages": passed,
        "redirect": redirect,
        "clients": client_certificates(here),
        "guard": guard(here) if served else None,
        "authority": AUTHORITY,
        "balanced": balanced(here),
        "hsts": here.number("hsts", 0),
        "binds": partial(binds, here.guest.address6 is not None),
        "options": partial(server_options, balanced=frozenset(balanced(here))),
    }
    config = here.template(
        "haproxy.cfg.j2", CONFIG, values=values, user="haproxy", group="haproxy", mode="640"
    )
    unit = here.template(
        "unit.conf.j2",
        "/etc/systemd/system/haproxy.service.d/hearth.conf",
        values={"config": CONFIG, "low_ports": any(number < UNPRIVILEGED for number in ports)},
    )
    if not served:
        return Proxy((config,), unit, (), ports)
    return Proxy((config, bundle(here)), unit, (ended(here),), ports)


def binds(ipv6: bool, number: int, host: bool = False) -> tuple[str, ...]:
    """The addresses of HAProxy's `bind` lines for a port: of every interface, or of loopback."""
    four, six = ("127.0.0.1", "[::1]") if host else ("*", "[::]")
    return (f"{four}:{number}", *([f"{six}:{number}{'' if host else ' v6only'}"] if ipv6 else []))


def server_options(passage: Passage, server: Server, balanced: frozenset[str]) -> str:
    """What follows address and port in HAProxy's `server` line.

    Only what several guests serve is watched. The first one is the primary: clients leave the others as soon
    as it is back, so that they do not stay apart at two brokers. A check every 30 s would be a slow alarm:
    failed connections of real clients raise it too (`observe`), more checks would fill a broker's journal.
    """
    told = " send-proxy-v2" if passage.proxied else ""
    if len(passage.servers) == 1:
        return told
    watch = " check inter 30s fastinter 1s downinter 2s fall 2 rise 3"
    seen = " observe layer4 error-limit 3 on-error mark-down on-marked-down shutdown-sessions"
    if passage.proxied:
        trust = f" ca-file {AUTHORITY} verify required verifyhost {server.name}"
        watch += f" check-send-proxy check-ssl check-sni {server.name}{trust}"
    if passage.name in balanced:
        return told + watch + seen
    primary = server == passage.servers[0]
    return told + watch + seen + (" on-marked-up shutdown-backup-sessions" if primary else " backup")


def bundle(here: Here) -> File:
    """Certificate and key in one file, as HAProxy reads them."""
    certificate = here.certificate()
    text = certificate.cert_pem + certificate.key_pem.reveal()
    return File(f"{FOLDER}/tls/server.pem", text, "haproxy", "haproxy", "600", secret=True)


@dataclass(frozen=True)
class Guard:
    """Who comes in without a certificate, and which certificates let others in.

    Args:
        inside: the home's networks.
        outside: what counts as outside although it is within them.
        serials: the phones' certificates.
    """

    inside: tuple[Network, ...]
    outside: tuple[Network, ...]
    serials: tuple[str, ...]


def guard(here: Here) -> Guard | None:
    """Who has to show a certificate; None where group_data asks for none.

    Raises:
        HearthError: an address is none, it cannot be told who is at home, or others wear the front door's
            own address: they could say of themselves what the door says of its clients.
    """
    if not here.value("demand_certificates"):
        return None
    inside = inside_networks(here.fleet, here.value("inside"))
    outside = outside_addresses(here.fleet, here.value("outside"))
    for door in here.fleet.with_role(FRONT_DOOR):
        if any(address in network for address in fixed_addresses(door) for network in outside):
            raise HearthError(
                f"tell who comes through the front door on {door.name}",
                "whoever comes in from outside may wear its address",
                "give the subnet router another guest, or mend front_outside in group_data/front.py",
            )
    return Guard(inside, outside, here.phones.serials)


def ended(here: Here) -> File:
    """The certificates that are refused from now on. HAProxy does not read it: a change restarts HAProxy."""
    lines = "".join(f"{each.serial}\n" for each in here.phones.ended)
    return File(ENDED, f"# Written by Hearth.\n{lines}", "haproxy", "haproxy", "640")


def listening(served: Sequence[Web], passed: Sequence[Passage], redirect: int | None) -> tuple[int, ...]:
    """Every port on which HAProxy listens."""
    own = [number for web in served for number in (web.port.number, web.entrance) if number is not None]
    return (*own, *(passage.port.number for passage in passed), *([HTTP] if redirect else []))


def redirected(here: Here, served: Sequence[Web]) -> int | None:
    """The port to which plain HTTP on 80 is sent; None: nothing listens there.

    Raises:
        HearthError: group_data names an interface that this guest does not have.
    """
    wanted = here.value("redirect").get(here.guest.name)
    if wanted is None:
        return None
    for web in served:
        if web.name == wanted:
            return web.port.number
    raise HearthError(
        f"redirect plain HTTP of {here.guest.name}",
        f"front_redirect names {wanted!r}",
        f"it has {', '.join(web.name for web in served) or 'no web interface'}",
    )


def client_certificates(here: Here) -> dict[str, Any]:
    """group_data's demands for client certificates, by `role.port`.

    Raises:
        HearthError: one is not complete, or asks for what HAProxy does not know.
    """
    found: dict[str, Any] = here.value("client_certificates")
    for name, asks in found.items():
        if set(asks) != {"ca", "verify"} or asks["verify"] not in VERIFY:
            raise HearthError(
                f"ask clients of {name} for a certificate",
                f"front_client_certificates has {asks!r}",
                'write {"ca": "/path/on/the/guest", "verify": "optional" or "required"}',
            )
    return found


def balanced(here: Here) -> dict[str, str]:
    """What the front door shares among several guests, by `role.port`: what group_data names, and what can be
    shared without anybody's word.

    Raises:
        HearthError: a way of sharing that is not offered.
    """
    found: dict[str, str] = getattr(here.host.data, "front_door_balance", {})
    for name, way in found.items():
        if way not in (*BALANCES, FIRST):
            raise HearthError(
                f"share {name} among guests",
                f"front_door_balance has {way!r}",
                f"use one of {', '.join((*BALANCES, FIRST))}",
            )
    shared = dict.fromkeys(shareable(here.fleet, here.roles), BY_ITSELF)
    return {name: way for name, way in (shared | found).items() if way != FIRST}

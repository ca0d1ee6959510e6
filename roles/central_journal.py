"""The central journal: systemd-journal-remote takes every guest's journal, over TLS and from known guests
only.

Debian's has no way to ask for a certificate; HAProxy stands before it, and lets in exactly the certificates
that the guests have for this. Each guest then has journal files of its own: none can write into another's.
Where all of them grow too large or old, the oldest go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any

from cryptography import x509

from hearth.errors import HearthError
from hearth.ops import files, shell, systemd
from hearth.ops.files import File
from hearth.role.certificates import AUTHORITY, fixed_addresses
from hearth.role.declaration import Port, Role
from hearth.role.here import Here

USER, GATE = "journal-central", "journal-gate"
FOLDER = "/etc/journal-central"
JOURNALS = "/var/log/journal/remote"
UNIT, GATE_UNIT, LIMITS = "journal-central.service", "journal-gate.service", "journal-central-limits"
LIBRARY = "/usr/local/lib/hearth/journal-central"
BEHIND = 19_531
SENDER = "journal_upload"
SIZE = re.compile(r"(\d+)([MG])")
MIB = {"M": 1, "G": 1024}
LOWER = 0x00FF_FFFF  # the last three numbers of an IPv4 address
LOOPBACK = 127 << 24
# The largest that a file becomes which is being written: an eighth of what journals may take by default, and
# at most 128 MiB (systemd 252, journal-file.c: DEFAULT_MAX_SIZE_UPPER). Only what is no longer written can
# go.
ACTIVE = 128
MARGIN = 128  # MiB that may come in between two looks

role = Role(
    provides=(Port("https", 19_532, tls=True),),
    secrets=("tls/*",),
    packages=("haproxy", "systemd-journal-remote"),
)


@dataclass(frozen=True)
class Sender:
    """A guest that sends its journal.

    Args:
        name: the guest.
        serial: its certificate's, as HAProxy shows it.
        source: the address of loopback that it comes from; its journal's file is named after it.
    """

    name: str
    serial: str
    source: IPv4Address


@role.deploy
def central_journal(here: Here) -> None:
    """The server, TLS before it, and what keeps its limits."""
    here.refuse_a_second_guest("each guest sends its journal to one place")
    shell.ensure(
        name="Give the central journal its users and place",
        holds=f'id -u {USER} {GATE} && [ "$(stat -c %U {JOURNALS})" = {USER} ]',
        command=here.render("folder.sh.j2", users=(USER, GATE), user=USER, journals=JOURNALS),
    )
    server(here)
    gate(here)


def server(here: Here) -> None:
    """systemd-journal-remote on loopback, and its limits."""
    unit = here.template("journal-central.service.j2", f"/etc/systemd/system/{UNIT}", values=places(here))
    limits = limit_files(here)
    files.present(name="Describe the central journal", files=[unit, *limits])
    systemd.service(name="Run the central journal", unit=UNIT, restart_on=[unit], ports=[BEHIND])
    systemd.service(
        name="Keep the central journal's limits", unit=f"{LIMITS}.timer", restart_on=limits, stays=0.2
    )


def gate(here: Here) -> None:
    """HAProxy before it, beside the one of role front."""
    if "front" not in here.guest.roles:
        shell.ensure(
            name="Have no HAProxy but this one",
            holds="! systemctl is-enabled -q haproxy.service && ! systemctl is-active -q haproxy.service",
            command="systemctl -q disable --now haproxy.service",
        )
    parts = gate_files(here)
    files.present(
        name="Configure TLS before the central journal",
        files=parts,
        check="haproxy -c -f {candidate} >/dev/null",
    )
    unit = here.template("journal-gate.service.j2", f"/etc/systemd/system/{GATE_UNIT}", values=places(here))
    files.present(name="Describe TLS before the central journal", files=[unit])
    systemd.service(
        name="Run TLS before the central journal",
        unit=GATE_UNIT,
        restart_on=[unit],
        reload_on=parts,
        ports=[here.port("https").number],
    )


def places(here: Here) -> dict[str, Any]:
    """What its units and its script have to know."""
    return {
        "user": USER,
        "gate": GATE,
        "folder": FOLDER,
        "journals": JOURNALS,
        "library": LIBRARY,
        "archived": archived(here),
        "keep": here.value("keep"),
        "behind": BEHIND,
    }


def gate_files(here: Here) -> list[File]:
    """HAProxy's configuration, and the certificate."""
    certificate = here.certificate()
    port = here.port("https").number
    six = [f"[::]:{port} v6only"] if here.guest.address6 is not None else []
    values = {
        "binds": [f"*:{port}", *six],
        "senders": senders(here),
        "authority": AUTHORITY,
        "behind": BEHIND,
    }
    pem = certificate.cert_pem + certificate.key_pem.reveal()
    return [
        here.template("gate.cfg.j2", f"{FOLDER}/gate.cfg", values=values),
        File(f"{FOLDER}/server.pem", pem, GATE, GATE, "600", secret=True),
    ]


def senders(here: Here) -> tuple[Sender, ...]:
    """Every guest that sends its journal, with what tells it from others.

    Raises:
        HearthError: a guest has no fixed IPv4 address, or two would have one file.
    """
    found: dict[IPv4Address, Sender] = {}
    for guest in here.fleet.with_role(SENDER):
        text = here.authority.client_leaf(guest.name).cert_pem
        serial = x509.load_pem_x509_certificate(text.encode()).serial_number
        source = source_of(guest.name, fixed_addresses(guest))
        if source in found:
            raise HearthError(
                f"tell the journals of {guest.name} and {found[source].name} apart",
                "the last three numbers of their addresses are the same",
                "give one of them another address",
            )
        found[source] = Sender(guest.name, _hex(serial), source)
    return tuple(found.values())


def source_of(guest: str, addresses: tuple[Any, ...]) -> IPv4Address:
    """The address of loopback that stands for a guest: 127 and the last three numbers of its own.

    Raises:
        HearthError: it has no fixed IPv4 address.
    """
    own = next((address for address in addresses if isinstance(address, IPv4Address)), None)
    if own is None:
        raise HearthError(
            f"keep the journal of {guest}",
            "it has no fixed IPv4 address",
            "give it one in the fleet file",
        )
    found = ip_address(LOOPBACK | int(own) & LOWER)
    assert isinstance(found, IPv4Address)
    return found


def _hex(number: int) -> str:
    """As HAProxy's `ssl_c_serial,hex` writes a serial number: whole bytes without a sign, in capitals."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()


def limit_files(here: Here) -> list[File]:
    """What removes the oldest journals, twelve times a minute."""
    values = places(here)
    return [
        here.template("limits.sh.j2", f"{LIBRARY}/limits", values=values, mode="755"),
        here.template("limits.service.j2", f"/etc/systemd/system/{LIMITS}.service", values=values),
        here.template("limits.timer.j2", f"/etc/systemd/system/{LIMITS}.timer", values=values),
    ]


def archived(here: Here) -> int:
    """MiB for the files that are no longer written; what is being written comes on top.

    Raises:
        HearthError: the limit is none, or so small that the files being written would not fit.
    """
    found = SIZE.fullmatch(str(here.value("size")))
    guests = len(here.fleet.with_role(SENDER))
    least = guests * ACTIVE + 2 * MARGIN
    whole = int(found[1]) * MIB[found[2]] if found else 0
    if whole < least:
        raise HearthError(
            "limit the central journal",
            f"central_journal_size is {here.value('size')!r}",
            f'write e.g. "4G"; {guests} guests take {least}M at least',
        )
    return whole - guests * ACTIVE - MARGIN

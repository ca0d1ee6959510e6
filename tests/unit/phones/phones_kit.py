"""A phone made for a fleet on loopback: its bundle opened as the phone would open it."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import subprocess
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from role_kit import FakeRun

from hearth.fleet.model import Fleet, Tailnet
from hearth.phones import credentials
from hearth.phones.bundle import Parcel, contents
from hearth.phones.places import places
from hearth.phones.registry import Phone
from hearth.role.tailnet import TAILSCALE

TAILNET = "tail.example"


def a_parcel(run: FakeRun, name: str = "anna", **phone: Any) -> Parcel:
    """A phone of a fleet, with new credentials; it is not listed yet."""
    given = credentials.new(run.secrets, run.authority, name)
    listed = Phone(serial=given.serial, until=given.until, **phone)
    where = places(in_a_tailnet(run.fleet), run.roles)
    return Parcel(name, listed, given, where, run.authority.ca_pem, run.authority.pins())


def in_a_tailnet(fleet: Fleet, *but: str) -> Fleet:
    """The fleet, its guests joined to a tailnet but those named."""
    guests = tuple(
        guest if guest.name in but else guest.model_copy(update={"roles": (*guest.roles, TAILSCALE)})
        for guest in fleet.guests
    )
    return fleet.model_copy(update={"guests": guests, "tailnet": Tailnet(domain=TAILNET)})


def listed(run: FakeRun, parcel: Parcel) -> None:
    """As `hearth android add` leaves it."""
    run.phones = run.phones.with_phone(parcel.name, parcel.phone)


def ended(run: FakeRun, parcel: Parcel) -> None:
    """As `hearth android revoke` leaves it."""
    run.phones = run.phones.without(parcel.name)
    credentials.forget(run.secrets, parcel.name)


def openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    """What openssl prints; the test fails where openssl does."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Handset:
    """A phone that knows nothing but the files of its bundle.

    Args:
        folder: where they lie.
        config: its phone.json.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def unpacked(cls, parcel: Parcel, folder: Path) -> Handset:
        """With the bundle's files in a folder, and the PKCS#12 file taken apart by openssl."""
        folder.mkdir(exist_ok=True)
        for name, content in contents(parcel).items():
            (folder / name).write_bytes(content)
        found = cls(folder, json.loads((folder / "phone.json").read_text()))
        own = found.config["client_certificate"]
        opened = ["pkcs12", "-in", folder / own["file"], "-passin", f"pass:{own['passphrase']}", "-nodes"]
        (folder / "client.pem").write_bytes(openssl(*opened, "-clcerts"))
        return found

    @property
    def mqtt(self) -> dict[str, Any]:
        """What it has for the broker."""
        found: dict[str, Any] = self.config["mqtt"]
        return found

    def tls(self, certificate: bool = True) -> ssl.SSLContext:
        """TLS as the app does it: the bundle's CA alone, and where asked its own certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / self.config["ca"]))
        if certificate:
            context.load_cert_chain(self.folder / "client.pem")
        return context

    def trusts(self, address: str, port: int, name: str) -> bool:
        """Whether a server's chain holds, and has a key that is pinned: what Android asks for."""
        command = ["s_client", "-connect", f"{address}:{port}", "-servername", name, "-verify_hostname", name]
        trusted = ["-CAfile", self.folder / self.config["ca"], "-verify_return_error", "-no_ign_eof"]
        try:
            openssl(*command, *trusted)
        except AssertionError:
            return False
        # The chain ends at the one CA that is trusted: it is the key of that one that Android compares.
        authority = openssl("x509", "-in", self.folder / self.config["ca"], "-outform", "DER")
        return pin_of(authority) in self.config["pins"]


def pin_of(der: bytes) -> str:
    """The pin of a certificate's key, by openssl's commands (RFC 7469, appendix A)."""
    public = openssl("x509", "-inform", "DER", "-noout", "-pubkey", stdin=der)
    spki = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
    return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


TODAY = date(2026, 11, 27)

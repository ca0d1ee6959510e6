"""The one file that a phone is given: a ZIP archive, encrypted with age.

What is inside can be opened with what every phone has; what is around it is age's own format, for the app
(kage is age for Android) and for `age --decrypt` on a computer or in a terminal on the phone.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from hearth.phones.android import network_security_config
from hearth.phones.credentials import Credentials, pkcs12_of
from hearth.phones.places import Places
from hearth.phones.registry import Phone, topics_of, user_of
from hearth.secrets import Secret, age

VERSION = 1
EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest that ZIP can say; the same phone gives the same archive
CONFIG, CA, SECURITY, README = "phone.json", "ca.crt", "network_security_config.xml", "README.txt"


@dataclass(frozen=True)
class Parcel:
    """All that a bundle is made of.

    Args:
        name: the phone.
        phone: what is listed of it.
        credentials: what it proves itself with.
        places: where it finds the home.
        ca_pem: the home's CA.
        pins: of the CA's key and of the backup key.
    """

    name: str
    phone: Phone
    credentials: Credentials
    places: Places
    ca_pem: str
    pins: tuple[str, str]


def contents(parcel: Parcel) -> dict[str, bytes]:
    """The archive's files by name. Most of it is secret."""
    authority = x509.load_pem_x509_certificate(parcel.ca_pem.encode())
    return {
        README: readme(parcel).encode(),
        CONFIG: (json.dumps(config(parcel), indent=2) + "\n").encode(),
        f"{parcel.name}.p12": pkcs12_of(parcel.credentials, parcel.name, authority),
        CA: parcel.ca_pem.encode(),
        SECURITY: network_security_config(parcel.places.hosts, parcel.pins).encode(),
    }


def config(parcel: Parcel) -> dict[str, Any]:
    """What the app reads. Secret."""
    given, where = parcel.credentials, parcel.places
    found: dict[str, Any] = {
        "version": VERSION,
        "name": parcel.name,
        "biometric_required": parcel.phone.biometric,
        "ca": CA,
        "pins": [f"sha256/{value}" for value in parcel.pins],
        "client_certificate": {
            "file": f"{parcel.name}.p12",
            "passphrase": given.p12.reveal(),
            "serial": parcel.phone.serial,
            "until": parcel.phone.until.isoformat(),
        },
        "services": {
            name: {"port": each.number, "lan": list(each.lan), "tailnet": list(each.tailnet)}
            for name, each in where.services.items()
        },
    }
    if where.home_assistant:
        found["home_assistant"] = {
            "urls": list(where.home_assistant.addresses),
            "invitation": where.invitation,
            "username": user_of(parcel.name),
            "password": given.home_assistant.reveal(),
        }
    if where.broker:
        found["mqtt"] = {
            "hosts": [*where.broker.lan, *where.broker.tailnet],
            "port": where.broker.number,
            "username": user_of(parcel.name),
            "password": given.mqtt.reveal(),
            "topics": topics_of(parcel.name),
        }
    return found


def readme(parcel: Parcel) -> str:
    """What a person reads. Secret."""
    given, where = parcel.credentials, parcel.places
    lines = [
        f"The phone {parcel.name}, and how it comes into the home.",
        "",
        f"1. Install ca.crt as a CA certificate, then {parcel.name}.p12 as a VPN and app user certificate",
        "   (Settings > Security > Encryption & credentials). It asks for:",
        f"       {given.p12.reveal()}",
    ]
    if where.home_assistant:
        lines += [
            f"2. Open {where.invitation}",
            f"   or type {where.home_assistant.addresses[0]} into Home Assistant's app. Log in as",
            f"       {user_of(parcel.name)}",
            f"       {given.home_assistant.reveal()}",
        ]
    if where.broker:
        lines += [
            f"3. MQTT: {where.broker.addresses[0]}, TLS, topics below {topics_of(parcel.name)[:-1]}",
            f"       {user_of(parcel.name)}",
            f"       {given.mqtt.reveal()}",
        ]
    last = f"The certificate ends on {parcel.phone.until}. Delete these files when the phone is set up."
    return "\n".join([*lines, "", last, ""])


def sealed(parcel: Parcel, recipients: tuple[str, ...] = ()) -> bytes:
    """The bundle: for these age keys (`age1...`), or where none is named for the phone's passphrase."""
    archive = packed(contents(parcel))
    if recipients:
        return age.encrypt(archive, recipients)
    return age.encrypt_with_passphrase(archive, parcel.credentials.bundle)


def packed(files: dict[str, bytes]) -> bytes:
    """A ZIP archive of these files, each readable by its owner alone."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return stream.getvalue()


def opened(data: bytes, passphrase: Secret) -> dict[str, bytes]:
    """A bundle's files by name.

    Raises:
        AgeError: it is damaged, or the passphrase is another.
    """
    with zipfile.ZipFile(io.BytesIO(age.decrypt_with_passphrase(data, passphrase))) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}

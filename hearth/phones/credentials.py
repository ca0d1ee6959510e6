"""What a phone proves itself with. The secrets keep it all: a lost bundle can be made again.

Names: `phone/NAME/key` and `phone/NAME/cert`, `phone/NAME/passphrase` (of the bundle), `phone/NAME/p12` (of
the PKCS#12 file), `phone/NAME/home-assistant`, `mqtt/phone-NAME`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from hearth.phones.registry import user_of
from hearth.pki import Authority
from hearth.pki.certificates import PrivateKey, certificate_pem, key_pem, load_certificate, load_key
from hearth.secrets import Secret, SecretStore, mqtt_user, passphrase, password

ROUNDS = 100_000  # of the key derivation; a phone opens the file once
OWN = ("key", "cert", "passphrase", "p12", "home-assistant")


@dataclass(frozen=True)
class Credentials:
    """A phone's.

    Args:
        certificate, key: what it shows to the front.
        mqtt: its password at the broker.
        home_assistant: its password at Home Assistant.
        p12: what opens its PKCS#12 file.
        bundle: what opens its bundle.
    """

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    mqtt: Secret
    home_assistant: Secret
    p12: Secret
    bundle: Secret

    @property
    def serial(self) -> str:
        """The serial number as HAProxy's `ssl_c_serial,hex` has it: whole bytes, no sign byte, upper case."""
        number = self.certificate.serial_number
        return number.to_bytes((number.bit_length() + 7) // 8, "big").hex().upper()

    @property
    def until(self) -> date:
        """The certificate's last day."""
        return self.certificate.not_valid_after_utc.astimezone(UTC).date()


def new(store: SecretStore, authority: Authority, name: str) -> Credentials:
    """New credentials, put into the store; whatever there was of this name is replaced."""
    certificate, key = authority.client(name)
    store.put(f"phone/{name}/key", key_pem(key))
    store.put(f"phone/{name}/cert", certificate_pem(certificate))
    store.put(f"mqtt/{user_of(name)}", password())
    return Credentials(
        certificate,
        key,
        mqtt_user(store, user_of(name)).password,
        store.put(f"phone/{name}/home-assistant", password()),
        store.put(f"phone/{name}/p12", passphrase()),
        store.put(f"phone/{name}/passphrase", passphrase()),
    )


def kept(store: SecretStore, name: str) -> Credentials | None:
    """The credentials in the store; None where a part is missing.

    Raises:
        HearthError: a part is damaged.
    """
    own = {part: store.find(f"phone/{name}/{part}") for part in OWN}
    mqtt = store.find(f"mqtt/{user_of(name)}")
    if mqtt is None or any(value is None for value in own.values()):
        return None
    there = {part: value for part, value in own.items() if value is not None}
    return Credentials(
        load_certificate(f"phone/{name}/cert", there["cert"]),
        load_key(f"phone/{name}/key", there["key"]),
        mqtt,
        there["home-assistant"],
        there["p12"],
        there["passphrase"],
    )


def forget(store: SecretStore, name: str) -> None:
    """Remove a phone's credentials from the store."""
    for part in OWN:
        store.remove(f"phone/{name}/{part}")
    for kind in ("mqtt", "mqtt-salt"):
        store.remove(f"{kind}/{user_of(name)}")


def pkcs12_of(credentials: Credentials, name: str, authority: x509.Certificate) -> bytes:
    """Certificate, key and CA as a PKCS#12 file (RFC 7292).

    Triple DES and SHA-1: Android's importer, at least up to 13, takes no newer algorithms and then speaks of
    a wrong password (strongswan/strongswan-docs#5, chris2511/xca#389). What keeps the file is the bundle
    around it.
    """
    protection = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())
        .build(credentials.p12.reveal().encode())
    )
    return pkcs12.serialize_key_and_certificates(
        name.encode(), credentials.key, credentials.certificate, [authority], protection
    )

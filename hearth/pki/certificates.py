"""The shape of our certificates, and reading them back.

It follows RFC 5280, 4.2, so that strict verifiers (OpenSSL's X509_V_FLAG_X509_STRICT, phones) take them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hearth.errors import HearthError
from hearth.secrets import Secret

CA_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=397)  # phones refuse more than 398 days of a server certificate
CLIENT_LIFE = timedelta(days=825)  # a phone's own; it is renewed by hand
BACKDATE = timedelta(hours=1)  # a guest's clock may be behind ours
CN_LENGTH = 64  # ub-common-name, RFC 5280 appendix A.1

Address = IPv4Address | IPv6Address
Names = frozenset[str | Address]
PrivateKey = ec.EllipticCurvePrivateKey


def new_key() -> PrivateKey:
    """A new ECDSA key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def ca_certificate(key: PrivateKey, now: datetime) -> x509.Certificate:
    """A self-signed CA certificate for ten years; it may sign servers and phones, no further CA."""
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    # The key's fingerprint keeps the CAs of two homes, or a renewed one, apart in a phone's list.
    name = _name(f"Hearth CA {identifier.digest.hex()[:8]}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now - BACKDATE + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    return builder.sign(key, SHA256())


@dataclass(frozen=True)
class Issuer:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


def leaf_certificate(
    guest: str, names: Names, key: PrivateKey, issuer: Issuer, now: datetime
) -> x509.Certificate:
    """A server's certificate for 397 days, or until the CA's own ends.

    Args:
        guest: the common name; only shown, nobody compares it.
        names: what it is valid for.
        key: the server's key.
        issuer: who signs.
        now: the time, UTC.
    """
    ordered = sorted(names, key=lambda name: (not isinstance(name, str), str(name)))
    alternatives = [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in ordered]
    builder = _leaf(guest, key.public_key(), issuer, now, LEAF_LIFE)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    ).add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer.key, SHA256())


def client_certificate(name: str, key: PrivateKey, issuer: Issuer, now: datetime) -> x509.Certificate:
    """A client's certificate for 825 days, or until the CA's own ends; no server can use it.

    Args:
        name: the common name; who verifies the certificate reads it.
        key: the client's key.
        issuer: who signs.
        now: the time, UTC.
    """
    builder = _leaf(name, key.public_key(), issuer, now, CLIENT_LIFE)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return builder.add_extension(usage, critical=False).sign(issuer.key, SHA256())


def _leaf(
    common: str, public: ec.EllipticCurvePublicKey, issuer: Issuer, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    """What certificates of servers and clients have in common."""
    authority = issuer.certificate
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common[:CN_LENGTH]))
        .issuer_name(authority.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now - BACKDATE + life, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def wanted_names(guest: str, names: Sequence[str], addresses: Sequence[Address | str]) -> Names:
    """What a guest's certificate has to be valid for, in comparable form.

    Raises:
        HearthError: a name is no ASCII DNS name, or an address is none.
    """
    action = f"issue a certificate for {guest}"
    for name in (guest, *names):
        if not name or not name.isascii() or any(character.isspace() for character in name):
            raise HearthError(action, f"{name!r} is no DNS name", "use letters, digits, hyphens and dots")
    try:
        parsed = [ip_address(address) for address in addresses]
    except ValueError as error:
        raise HearthError(action, str(error)) from None
    return frozenset([guest.lower(), *(name.lower() for name in names), *parsed])


def names_of(certificate: x509.Certificate) -> Names:
    """What a certificate is valid for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = [address for address in names.get_values_for_type(x509.IPAddress)]
    return frozenset([*names.get_values_for_type(x509.DNSName), *addresses])  # type: ignore[list-item]


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """True when this CA signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def pin(key: PrivateKey) -> str:
    """Base64 of SHA-256 over the public key (RFC 7469, 2.4)."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode("ascii")


def key_pem(key: PrivateKey) -> str:
    """The private key, PKCS #8 in PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def certificate_pem(certificate: x509.Certificate) -> str:
    """The certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def load_key(name: str, text: Secret) -> PrivateKey:
    """Parse a private key in PEM; HearthError naming the secret when it is none."""
    try:
        key = load_pem_private_key(text.reveal().encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, PrivateKey):
        raise _damaged(name, "it is no EC private key in PEM")
    return key


def load_certificate(name: str, text: Secret) -> x509.Certificate:
    """Parse a certificate in PEM; HearthError naming the secret when it is none."""
    try:
        return x509.load_pem_x509_certificate(text.reveal().encode())
    except ValueError:
        raise _damaged(name, "it is no certificate in PEM") from None


def _damaged(name: str, reason: str) -> HearthError:
    return HearthError(
        f"use the secret {name}", reason, f"restore the secrets file, or hearth secrets remove {name}"
    )

"""Our own certificate authority, and a certificate for each guest that serves TLS.

Everything is kept in the secrets: `ca/key`, `ca/cert`, `ca/backup-key`, for each guest `tls/<guest>/key` and
`tls/<guest>/cert`, and for those that show one as a client `client/<guest>/key` and `client/<guest>/cert`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509

from hearth.errors import HearthError
from hearth.pki.certificates import (
    Address,
    Issuer,
    Names,
    PrivateKey,
    ca_certificate,
    certificate_pem,
    client_certificate,
    key_pem,
    leaf_certificate,
    load_certificate,
    load_key,
    names_of,
    new_key,
    pin,
    signed_by,
    wanted_names,
)
from hearth.secrets import Secret, SecretStore

RENEW = timedelta(days=30)


@dataclass(frozen=True)
class Leaf:
    """A guest's certificate, its private key, and the CA's certificate (`chain_pem`), all PEM."""

    cert_pem: str
    key_pem: Secret
    chain_pem: str

    @property
    def fullchain_pem(self) -> str:
        """The certificate followed by the CA's."""
        return self.cert_pem + self.chain_pem


def _now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """The CA of this home.

    Args:
        store: where keys and certificates are kept; `store.save()` writes what is new.
        clock: the time, UTC.
    """

    def __init__(self, store: SecretStore, clock: Callable[[], datetime] = _now) -> None:
        self._store = store
        self._clock = clock

    @property
    def ca_pem(self) -> str:
        """The CA's certificate, PEM; generated on first use."""
        return certificate_pem(self._issuer().certificate)

    def pins(self) -> tuple[str, str]:
        """What a phone pins: base64 of SHA-256 over the public keys of the CA and of the backup CA."""
        return pin(self._key("ca/key")), pin(self._key("ca/backup-key"))

    def leaf(self, guest: str, names: Sequence[str], addresses: Sequence[Address | str]) -> Leaf:
        """The guest's certificate: the stored one while it fits, else a new one with a new key.

        It fits while its names are the wanted ones, it has 30 days or more left, our CA signed it, and the
        stored key is its own.

        Args:
            guest: the guest's name; it is always among the names.
            names: further DNS names, ASCII.
            addresses: IPv4 and IPv6 addresses.

        Raises:
            HearthError: a name or an address is none, the CA ends too soon, or a stored part is damaged.
        """
        wanted = wanted_names(guest, names, addresses)
        pair = self._stored(guest)
        if pair is None or not self._fits(*pair, wanted):
            pair = self._issue(guest, wanted)
        certificate, key = pair
        return Leaf(certificate_pem(certificate), Secret(key_pem(key)), self.ca_pem)

    def client_leaf(self, guest: str) -> Leaf:
        """The certificate that a guest shows as a client: the stored one while 30 days or more are left of
        it.

        It is kept as `client/GUEST/cert` and `client/GUEST/key`; no server can use it.

        Args:
            guest: the guest's name, its common name.

        Raises:
            HearthError: the CA ends too soon, or a stored part is damaged.
        """
        pair = self._stored(guest, "client")
        if pair is None or not self._holds(*pair):
            pair = self.client(guest)
            self._keep(guest, *pair, "client")
        certificate, key = pair
        return Leaf(certificate_pem(certificate), Secret(key_pem(key)), self.ca_pem)

    def client(self, name: str) -> tuple[x509.Certificate, PrivateKey]:
        """A new certificate and key for a client; the caller keeps them.

        Args:
            name: the common name.

        Raises:
            HearthError: the CA ends too soon, or a stored part of it is damaged.
        """
        issuer, now = self._lasting(f"issue a certificate for {name}")
        key = new_key()
        return client_certificate(name, key, issuer, now), key

    def reissued(self, guest: str) -> tuple[str, str]:
        """Another certificate for what the guest's present one is valid for: PEM, and its new key; not kept.

        Raises:
            HearthError: there is none, a stored part is damaged, or the CA ends too soon.
        """
        stored = self._stored(guest)
        if stored is None:
            raise HearthError(f"reissue the certificate of {guest}", "there is none", "deploy the guest")
        certificate, key = self._new(guest, names_of(stored[0]))
        return certificate_pem(certificate), key_pem(key)

    # ----------------------------------------------------------------- internal

    def _key(self, name: str) -> PrivateKey:
        return load_key(name, self._store.ensure(name, lambda: key_pem(new_key())))

    def _issuer(self) -> Issuer:
        self._key("ca/backup-key")  # made together with the CA: phones pin both
        key = self._key("ca/key")
        text = self._store.ensure("ca/cert", lambda: certificate_pem(ca_certificate(key, self._clock())))
        certificate = load_certificate("ca/cert", text)
        if certificate.public_key() != key.public_key():
            remedy = "restore the secrets file, or hearth secrets remove ca/cert"
            raise HearthError("use the CA", "ca/cert does not belong to ca/key", remedy)
        return Issuer(certificate, key)

    def _stored(self, guest: str, folder: str = "tls") -> tuple[x509.Certificate, PrivateKey] | None:
        names = f"{folder}/{guest}/cert", f"{folder}/{guest}/key"
        certificate, key = map(self._store.find, names)
        if certificate is None or key is None:
            return None
        return load_certificate(names[0], certificate), load_key(names[1], key)

    def _keep(self, guest: str, certificate: x509.Certificate, key: PrivateKey, folder: str = "tls") -> None:
        self._store.put(f"{folder}/{guest}/key", key_pem(key))
        self._store.put(f"{folder}/{guest}/cert", certificate_pem(certificate))

    def _fits(self, certificate: x509.Certificate, key: PrivateKey, wanted: Names) -> bool:
        return names_of(certificate) == wanted and self._holds(certificate, key)

    def _holds(self, certificate: x509.Certificate, key: PrivateKey) -> bool:
        now = self._clock()
        return (
            certificate.not_valid_before_utc <= now
            and certificate.not_valid_after_utc - now >= RENEW
            and certificate.public_key() == key.public_key()
            and signed_by(certificate, self._issuer().certificate)
        )

    def _issue(self, guest: str, wanted: Names) -> tuple[x509.Certificate, PrivateKey]:
        certificate, key = self._new(guest, wanted)
        self._keep(guest, certificate, key)
        return certificate, key

    def _new(self, guest: str, wanted: Names) -> tuple[x509.Certificate, PrivateKey]:
        issuer, now = self._lasting(f"issue a certificate for {guest}")
        key = new_key()
        return leaf_certificate(guest, wanted, key, issuer, now), key

    def _lasting(self, action: str) -> tuple[Issuer, datetime]:
        """The CA and the time, where the CA has long enough to go."""
        issuer, now = self._issuer(), self._clock()
        end = issuer.certificate.not_valid_after_utc
        if end - now < RENEW:
            raise HearthError(
                action,
                f"our CA's own ends on {end:%Y-%m-%d}",
                "hearth secrets remove ca/cert, run again, and install the new CA certificate on the phones",
            )
        return issuer, now

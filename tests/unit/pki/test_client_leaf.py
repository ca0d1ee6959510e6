"""A guest's certificate as a client: kept, renewed in time, and none that a server could use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from hearth.pki import Authority
from hearth.secrets import SecretStore

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def a_store() -> SecretStore:
    return SecretStore(Path("/nonexistent/secrets.age"), Path("/nonexistent/age.key"), {})


def test_it_is_the_same_until_thirty_days_are_left() -> None:
    store = a_store()
    first = Authority(store, lambda: NOW).client_leaf("comms")
    ends = x509.load_pem_x509_certificate(first.cert_pem.encode()).not_valid_after_utc
    for days, same in ((31, True), (29, False)):
        again = Authority(store, lambda days=days: ends - timedelta(days=days)).client_leaf("comms")  # type: ignore[misc]
        assert (again.cert_pem == first.cert_pem) is same


def test_it_says_who_it_is_and_is_no_servers() -> None:
    leaf = Authority(a_store(), lambda: NOW).client_leaf("comms")
    found = x509.load_pem_x509_certificate(leaf.cert_pem.encode())
    assert found.subject.rfc4514_string() == "CN=comms"
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_each_guest_has_its_own_and_a_servers_is_another() -> None:
    store = a_store()
    authority = Authority(store, lambda: NOW)
    texts = {
        authority.client_leaf("comms").cert_pem,
        authority.client_leaf("data").cert_pem,
        authority.leaf("comms", [], []).cert_pem,
    }
    assert len(texts) == 3
    assert {name for name in store.names() if name.startswith("client/")} == {
        f"client/{guest}/{part}" for guest in ("comms", "data") for part in ("cert", "key")
    }

"""Certificates: what they are good for is judged by openssl, Python's strict ssl and a real handshake."""

import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from cryptography import x509

from hearth.errors import HearthError
from hearth.pki import Authority, Leaf
from hearth.secrets import SecretStore

NAMES = ("comms.home.example", "tailnet.example")
ADDRESSES = (IPv4Address("192.0.2.135"), IPv6Address("2001:db8::135"))


class Clock:
    """The time, which tests may move; it begins now, because openssl judges by the real time."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets.age", tmp_path / "age.key")


@pytest.fixture
def authority(store: SecretStore, clock: Clock) -> Authority:
    return Authority(store, clock)


@pytest.fixture
def leaf(authority: Authority) -> Leaf:
    return authority.leaf("comms", NAMES, ADDRESSES)


def parsed(leaf: Leaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_pem.encode())


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


def handshake(server: Leaf, trusted: str, hostname: str, folder: Path) -> str | None:
    """Serve the leaf to a strict client that trusts `trusted`; the client's complaint or None."""
    (folder / "key").write_text(server.key_pem.reveal())
    (folder / "cert").write_text(server.cert_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "cert", folder / "key")
    asking = ssl.create_default_context(cadata=trusted)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            with serving.wrap_socket(there, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(here, server_hostname=hostname):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        here.close()
        thread.join(10)


# ------------------------------------------------------------------- accepted


@pytest.mark.parametrize("purpose", ["sslserver"])
def test_openssl_verifies_strictly(leaf: Leaf, tmp_path: Path, purpose: str) -> None:
    (tmp_path / "leaf").write_text(leaf.cert_pem)
    (tmp_path / "ca").write_text(leaf.chain_pem)
    done = openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "ca", tmp_path / "leaf"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("purpose", ["sslclient", "smimesign"])
def test_it_is_good_for_servers_only(leaf: Leaf, tmp_path: Path, purpose: str) -> None:
    (tmp_path / "leaf").write_text(leaf.cert_pem)
    (tmp_path / "ca").write_text(leaf.chain_pem)
    done = openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "ca", tmp_path / "leaf"
    )
    assert done.returncode != 0


@pytest.mark.parametrize("name", ["comms", *NAMES, *map(str, ADDRESSES)])
def test_strict_client_accepts_every_name(leaf: Leaf, tmp_path: Path, name: str) -> None:
    assert handshake(leaf, leaf.chain_pem, name, tmp_path) is None


@pytest.mark.parametrize("name", ["other", "192.0.2.1", "x.comms", "home.example"])
def test_strict_client_refuses_other_names(leaf: Leaf, tmp_path: Path, name: str) -> None:
    assert "match" in (handshake(leaf, leaf.chain_pem, name, tmp_path) or "")


def test_client_that_trusts_another_home_refuses(leaf: Leaf, tmp_path: Path) -> None:
    other = Authority(SecretStore(tmp_path / "other.age", tmp_path / "other.key"))
    assert handshake(leaf, other.ca_pem, "comms", tmp_path)


def test_a_leaf_cannot_sign(leaf: Leaf) -> None:
    extensions = parsed(leaf).extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


def test_ca_is_for_ten_years_and_signs_servers_only(authority: Authority, clock: Clock) -> None:
    ca = x509.load_pem_x509_certificate(authority.ca_pem.encode())
    assert timedelta(days=3650) <= ca.not_valid_after_utc - clock.now <= timedelta(days=3653)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign


def test_leaf_is_for_397_days(leaf: Leaf) -> None:
    certificate = parsed(leaf)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=397)


def test_key_is_p256_and_the_certificates_own(leaf: Leaf, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(leaf.key_pem.reveal())
    (tmp_path / "cert").write_text(leaf.cert_pem)
    shown = openssl("pkey", "-in", tmp_path / "key", "-noout", "-text").stdout
    assert "NIST CURVE: P-256" in shown
    assert (
        openssl("pkey", "-in", tmp_path / "key", "-pubout").stdout
        == openssl("x509", "-in", tmp_path / "cert", "-noout", "-pubkey").stdout
    )


def test_a_real_broker_serves_it_to_a_strict_client(leaf: Leaf, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name, text in (("key", leaf.key_pem.reveal()), ("cert", leaf.cert_pem), ("ca", leaf.chain_pem)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = "".join(f"{option} {tmp_path / option[:-4]}\n" for option in ("keyfile", "certfile"))
    config = f"listener {port} 127.0.0.1\n{files}cafile {tmp_path / 'ca'}\nallow_anonymous true\nuser root\n"
    (tmp_path / "conf").write_text(config)
    broker = subprocess.Popen(["mosquitto", "-c", tmp_path / "conf"], stderr=subprocess.DEVNULL)
    asking = ssl.create_default_context(cadata=leaf.chain_pem)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with (
            connected(port) as plain,
            asking.wrap_socket(plain, server_hostname="comms.home.example") as connection,
        ):
            connection.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x")
            assert connection.recv(4) == b"\x20\x02\x00\x00"
    finally:
        broker.terminate()
        broker.wait(10)


def connected(port: int) -> socket.socket:
    """Connect to loopback as soon as somebody listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# ------------------------------------------------------------ kept and renewed


def test_kept_over_a_save(authority: Authority, leaf: Leaf, store: SecretStore, clock: Clock) -> None:
    store.save()
    reopened = SecretStore(store.path, store.identity_file)
    again = Authority(reopened, clock)
    assert again.ca_pem == authority.ca_pem
    assert again.leaf("comms", NAMES, ADDRESSES) == leaf
    assert again.pins() == authority.pins()
    assert reopened.unsaved == ()


def test_dry_run_writes_nothing(leaf: Leaf, store: SecretStore) -> None:
    assert not store.path.exists()
    assert set(store.unsaved) == {"ca/key", "ca/cert", "ca/backup-key", "tls/comms/key", "tls/comms/cert"}


def test_order_case_and_doubles_of_names_do_not_matter(authority: Authority, leaf: Leaf) -> None:
    names = ("Tailnet.Example", "comms.home.example", "comms", "comms")
    assert authority.leaf("comms", names, [str(address) for address in reversed(ADDRESSES)]) == leaf


@pytest.mark.parametrize(
    ("names", "addresses"),
    [(NAMES[:1], ADDRESSES), ((*NAMES, "more"), ADDRESSES), (NAMES, ADDRESSES[:1]), (NAMES, ("192.0.2.1",))],
)
def test_other_names_give_a_new_certificate_and_key(
    authority: Authority, leaf: Leaf, names: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    other = authority.leaf("comms", names, addresses)
    assert other.cert_pem != leaf.cert_pem
    assert other.key_pem != leaf.key_pem
    assert authority.leaf("comms", names, addresses) == other


def test_renewed_under_30_days_and_not_before(authority: Authority, leaf: Leaf, clock: Clock) -> None:
    end = parsed(leaf).not_valid_after_utc
    clock.now = end - timedelta(days=30)
    assert authority.leaf("comms", NAMES, ADDRESSES) == leaf
    clock.now += timedelta(seconds=1)
    renewed = authority.leaf("comms", NAMES, ADDRESSES)
    assert parsed(renewed).not_valid_after_utc > end
    assert renewed.chain_pem == leaf.chain_pem


def test_renewed_when_the_clock_was_wrong(authority: Authority, leaf: Leaf, clock: Clock) -> None:
    clock.now -= timedelta(days=2)
    assert authority.leaf("comms", NAMES, ADDRESSES) != leaf


def test_guests_have_certificates_of_their_own(authority: Authority, leaf: Leaf) -> None:
    assert authority.leaf("data", NAMES, ADDRESSES).key_pem != leaf.key_pem
    assert authority.leaf("comms", NAMES, ADDRESSES) == leaf


@pytest.mark.parametrize("part", ["key", "cert"])
def test_half_a_pair_is_issued_anew(authority: Authority, leaf: Leaf, store: SecretStore, part: str) -> None:
    store.remove(f"tls/comms/{part}")
    assert authority.leaf("comms", NAMES, ADDRESSES) != leaf


def test_a_foreign_key_beside_the_certificate_is_issued_anew(
    authority: Authority, leaf: Leaf, store: SecretStore
) -> None:
    store.put("tls/comms/key", authority.leaf("data", NAMES, ADDRESSES).key_pem.reveal())
    renewed = authority.leaf("comms", NAMES, ADDRESSES)
    assert renewed.cert_pem != leaf.cert_pem


def test_a_new_ca_key_renews_the_leaves(
    authority: Authority, leaf: Leaf, store: SecretStore, tmp_path: Path
) -> None:
    store.remove("ca/key")
    store.remove("ca/cert")
    renewed = authority.leaf("comms", NAMES, ADDRESSES)
    assert handshake(renewed, authority.ca_pem, "comms", tmp_path) is None
    assert handshake(leaf, authority.ca_pem, "comms", tmp_path) is not None


def test_a_renewed_ca_certificate_keeps_pins_and_leaves(
    authority: Authority, leaf: Leaf, store: SecretStore
) -> None:
    pins = authority.pins()
    store.remove("ca/cert")
    assert authority.leaf("comms", NAMES, ADDRESSES).cert_pem == leaf.cert_pem
    assert authority.pins() == pins


def test_pins_are_what_openssl_computes(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text(authority.ca_pem)
    script = (
        "openssl x509 -in $0 -noout -pubkey | openssl pkey -pubin -outform der"
        " | openssl dgst -sha256 -binary | base64"
    )
    shown = subprocess.run(["sh", "-c", script, tmp_path / "ca"], capture_output=True, text=True, check=True)
    pin, backup = authority.pins()
    assert pin == shown.stdout.strip()
    assert backup != pin


# -------------------------------------------------------------------- refused


def test_near_its_end_the_ca_signs_nothing_more(authority: Authority, clock: Clock) -> None:
    ca_end = x509.load_pem_x509_certificate(authority.ca_pem.encode()).not_valid_after_utc
    clock.now = ca_end - timedelta(days=100)
    assert parsed(authority.leaf("comms", NAMES, ADDRESSES)).not_valid_after_utc == ca_end
    clock.now = ca_end - timedelta(days=29)
    with pytest.raises(HearthError, match="hearth secrets remove ca/cert"):
        authority.leaf("data", NAMES, ADDRESSES)


@pytest.mark.parametrize("name", ["", "a b", "küche", "a\n"])
def test_names_that_are_none(authority: Authority, name: str) -> None:
    with pytest.raises(HearthError, match="comms"):
        authority.leaf("comms", [name], [])


@pytest.mark.parametrize("address", ["192.0.2.256", "192.0.2.0/24", "host", ""])
def test_addresses_that_are_none(authority: Authority, address: str) -> None:
    with pytest.raises(HearthError, match="comms"):
        authority.leaf("comms", [], [address])


@pytest.mark.parametrize("name", ["ca/key", "ca/cert", "tls/comms/key", "tls/comms/cert"])
def test_damaged_parts_are_named_and_not_quoted(
    authority: Authority, leaf: Leaf, store: SecretStore, name: str
) -> None:
    store.put(name, "-----BEGIN canary-----")
    with pytest.raises(HearthError, match=name) as caught:
        authority.leaf("comms", NAMES, ADDRESSES)
    assert "canary" not in str(caught.value)


def test_a_ca_certificate_of_another_key_is_refused(
    authority: Authority, store: SecretStore, tmp_path: Path
) -> None:
    other = Authority(SecretStore(tmp_path / "other.age", tmp_path / "other.key"))
    store.put("ca/cert", other.ca_pem)
    with pytest.raises(HearthError, match="ca/cert does not belong"):
        authority.leaf("comms", NAMES, ADDRESSES)


def test_keys_are_never_shown(authority: Authority, leaf: Leaf) -> None:
    body = leaf.key_pem.reveal().splitlines()[1]
    assert body not in repr(leaf) + str(leaf) + repr(authority) + f"{leaf}"
    assert "PRIVATE" not in leaf.fullchain_pem

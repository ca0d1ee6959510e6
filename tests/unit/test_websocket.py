"""A WebSocket over TLS is opened without a reader between the handshake and the request."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.server import Server, ServerConnection, serve

from hearth.websocket import AsksFirst, opened

SOON = 0.3  # seconds


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("websocket") / "both.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + plain)
    return file


def at_server(certificate: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


@pytest.fixture
def pair(certificate: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """A client that asks first, and its server, after the handshake."""
    ours, theirs = socket.socketpair()
    client_tls = ssl.create_default_context(cafile=str(certificate))
    client_tls.sslsocket_class = AsksFirst
    accepted: list[ssl.SSLSocket] = []
    tls = at_server(certificate)
    thread = threading.Thread(target=lambda: accepted.append(tls.wrap_socket(theirs, server_side=True)))
    thread.start()
    client = client_tls.wrap_socket(ours, server_hostname="localhost")
    thread.join()
    yield client, accepted[0]
    client.close()
    accepted[0].close()


def reading(client: ssl.SSLSocket) -> tuple[threading.Thread, list[bytes | str]]:
    """Something that reads from the start, and what it got."""
    got: list[bytes | str] = []

    def read() -> None:
        try:
            got.append(client.recv(100))
        except OSError as error:
            got.append(type(error).__name__)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, got


def test_nothing_is_read_before_the_request_is_out(pair: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    client, server = pair
    server.sendall(b"early")
    reader, got = reading(client)
    reader.join(SOON)
    assert reader.is_alive()
    assert got == []
    client.sendall(b"request")
    reader.join(10)
    assert got == [b"early"]
    assert server.recv(100) == b"request"


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_a_reader_that_nobody_asked_for_ends_with_the_connection(
    pair: tuple[ssl.SSLSocket, ssl.SSLSocket], end: str
) -> None:
    client, _ = pair
    reader, got = reading(client)
    if end == "close":
        client.close()
    else:
        client.shutdown(socket.SHUT_RDWR)
    reader.join(10)
    assert not reader.is_alive()
    assert got == [b""]


@pytest.fixture
def echo(certificate: Path) -> Iterator[Server]:
    """A real WebSocket server that sends back what it gets."""

    def answer(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(answer, "127.0.0.1", 0, ssl=at_server(certificate)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_is_opened_used_and_closed(certificate: Path, echo: Server) -> None:
    port = echo.socket.getsockname()[1]
    tls = ssl.create_default_context(cafile=str(certificate))
    with opened(f"wss://localhost:{port}/", tls) as connection:
        assert isinstance(connection.socket, AsksFirst)
        connection.send("word")
        assert connection.recv(10) == "word"
        assert tls.sslsocket_class is ssl.SSLSocket, "the context is not only ours"


def test_a_server_that_is_not_the_right_one_is_refused(echo: Server) -> None:
    port = echo.socket.getsockname()[1]
    for tls in (ssl.create_default_context(), None):
        with pytest.raises(ssl.SSLCertVerificationError):
            opened(f"wss://localhost:{port}/", tls)

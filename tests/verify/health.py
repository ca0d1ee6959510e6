"""The checks that a port's declaration may name (`Port(health=...)`)."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import OK, HTTPConnection

from mqtt_client import Mqtt
from under_test import TIMEOUT, UnderTest, address_of
from way import connect

from hearth.fleet.model import Guest
from hearth.role.served import Served

SOON = timedelta(days=14)  # a deploy renews below 30


def handshake(
    under_test: UnderTest, served: Served, name: str, context: ssl.SSLContext | None = None
) -> ssl.SSLSocket:
    """A TLS connection whose certificate holds for a name (or address in text)."""
    connection = connect(under_test, served.guest, served.port.number)
    if served.health == "postgres":
        ask_postgres_for_tls(connection)
    return (context or under_test.tls()).wrap_socket(connection, server_hostname=name)


def ask_postgres_for_tls(connection: socket.socket) -> None:
    """PostgreSQL speaks TLS only when asked to: SSLRequest, answered by one byte (its manual, 55.7)."""
    connection.sendall(struct.pack("!ii", 8, 80877103))
    assert connection.recv(1) == b"S", "it does not speak TLS"


def tcp(under_test: UnderTest, served: Served) -> None:
    """Somebody accepts."""
    connect(under_test, served.guest, served.port.number).close()


def tls(under_test: UnderTest, served: Served) -> None:
    """The certificate is the fleet's, and will be for a while."""
    with handshake(under_test, served, served.guest.name) as connection:
        certificate = connection.getpeercert() or {}
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        assert ends > datetime.now(UTC) + SOON, "run a deploy: it renews certificates"


def http(under_test: UnderTest, served: Served) -> None:
    """The port's path is answered with 200; with TLS the certificate holds for the address."""
    address, number = address_of(served.guest), served.port.number
    asked = HTTPConnection(address, number)
    with (
        handshake(under_test, served, address)
        if served.port.tls
        else connect(under_test, served.guest, number) as asked.sock
    ):
        asked.request("GET", served.port.path)
        assert asked.getresponse().status == OK


def plain_http(under_test: UnderTest, guest: Guest, port: int) -> bytes:
    """What a port says to a request without TLS; nothing where it hangs up."""
    with connect(under_test, guest, port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: home\r\nConnection: close\r\n\r\n")
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


def leads_to_https(answer: bytes) -> bool:
    """Whether an HTTP answer is a redirect to HTTPS and nothing more."""
    status, _, rest = answer.partition(b"\r\n")
    return status.startswith(b"HTTP/1.1 3") and b"\nlocation: https://" in rest.lower().replace(b"\r", b"\n")


def mqtt(under_test: UnderTest, served: Served) -> None:
    """A login is accepted."""
    context = under_test.tls() if served.port.tls else None
    with Mqtt(address_of(served.guest), served.port.number, *under_test.verifier, context):
        pass


def udp(under_test: UnderTest, served: Served) -> None:
    """Somebody listens: nothing comes back that says otherwise (RFC 1122, 4.1.3.1: port unreachable)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((address_of(served.guest), served.port.number))
        connection.settimeout(0.5)
        connection.send(b"?")
        with contextlib.suppress(TimeoutError):
            connection.recv(1)


def stun(under_test: UnderTest, served: Served) -> None:
    """A binding request is answered (RFC 8489, 5 and 14.7); as Tailscale's clients ask (net/stun/stun.go)."""
    ident = os.urandom(12)
    request = struct.pack(">HHI", 0x0001, 20, 0x2112A442) + ident
    request += struct.pack(">HH", 0x8022, 8) + b"tailnode"
    request += struct.pack(">HHI", 0x8028, 4, zlib.crc32(request) ^ 0x5354554E)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((address_of(served.guest), served.port.number))
        connection.settimeout(TIMEOUT)
        connection.send(request)
        answer = connection.recv(512)
    assert answer[:2] == struct.pack(">H", 0x0101)
    assert answer[8:20] == ident


CHECKS: dict[str, Callable[[UnderTest, Served], None]] = {
    "tcp": tcp,
    "tls": tls,
    "http": http,
    "mqtt": mqtt,
    "postgres": tls,
    "stun": stun,
    "udp": udp,
}

"""Every port that a role provides is open, healthy, and where it says TLS, is the fleet's own."""

import socket
import ssl

import pytest
from health import CHECKS, handshake, leads_to_https, plain_http, tls
from under_test import UnderTest, address_of

from hearth.role.served import Served

CLOSED = 3  # seconds


def test_it_is_healthy(under_test: UnderTest, open_port: Served) -> None:
    CHECKS[open_port.health](under_test, open_port)


def test_it_listens_where_it_should(under_test: UnderTest, port: Served) -> None:
    sockets = under_test.host(port.guest).socket.get_listening_sockets()
    ending = f":{port.port.number}"
    mine = [text for text in sockets if text.startswith(port.port.protocol) and text.endswith(ending)]
    assert mine
    if port.port.audience == "host":
        assert all("://127." in text or "://::1" in text for text in mine)


def test_its_certificate_holds_for_name_and_address(under_test: UnderTest, tls_port: Served) -> None:
    tls(under_test, tls_port)
    handshake(under_test, tls_port, address_of(tls_port.guest)).close()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(under_test, tls_port, "somebody-else.example")


def test_it_refuses_old_tls(under_test: UnderTest, tls_port: Served) -> None:
    with pytest.raises(OSError, match=r"(?i)protocol|alert|version|eof|reset"):
        handshake(under_test, tls_port, tls_port.guest.name, under_test.old_tls())


def test_it_answers_no_plain_http_but_to_redirect(under_test: UnderTest, web_port: Served) -> None:
    answer = plain_http(under_test, web_port.guest, web_port.port.number)
    assert not answer.startswith(b"HTTP") or leads_to_https(answer)


def test_it_negotiates_new_tls(under_test: UnderTest, tls_port: Served) -> None:
    with handshake(under_test, tls_port, tls_port.guest.name) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_the_walls_keep_this_machine_from_what_is_not_for_it(under_test: UnderTest) -> None:
    for served in under_test.ports:
        guest, port = served.guest, served.port
        if port.protocol == "tcp" and not under_test.may_reach(guest, port.number):
            with pytest.raises(OSError):
                socket.create_connection((address_of(guest), port.number), CLOSED).close()

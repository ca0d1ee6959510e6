"""HAProxy with our configuration: TLS, who the client is, WebSockets, reloads."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from front_kit import BEHIND, ELSEWHERE, Front, a_front, a_port, a_program, a_run, fetch, hub, run, until

from hearth.pki.authority import Authority
from hearth.role.fronted import ENTRANCE


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    """A guest's HAProxy with its program behind it, and a door that may come to the entrance."""
    role = hub(door=True)
    with a_program(role.provides[0].behind or 0), a_front(a_run(role)) as running:
        until(lambda: fetch(url(running), **running.trusting())[0] == 200)
        yield running


def number(front: Front) -> int:
    return front.run.roles["hub"].provides[0].number


def url(front: Front, path: str = "/x") -> str:
    return f"https://{front.address}:{number(front)}{path}"


def handshake(front: Front, context: ssl.SSLContext, name: str = "comms", port: int = 0) -> ssl.SSLSocket:
    raw = socket.create_connection((front.address, port or number(front)), 5)
    return context.wrap_socket(raw, server_hostname=name)


@pytest.mark.parametrize("name", ["comms", "comms.home.test", BEHIND, "hall", "127.0.0.1"])
def test_the_certificate_holds_for_names_and_addresses_the_doors_too(front: Front, name: str) -> None:
    handshake(front, front.tls(), name).close()


def test_the_certificate_is_for_nobody_else(front: Front) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(front, front.tls(), "somebody-else.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(front: Front, version: ssl.TLSVersion) -> None:
    old = front.tls()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    # For its version: the ciphers alone would keep it out too, in other words.
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        handshake(front, old)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_tls_is_spoken_with_forward_secrecy(front: Front, version: ssl.TLSVersion) -> None:
    new = front.tls()
    new.minimum_version = new.maximum_version = version
    with handshake(front, new) as connection:
        cipher = connection.cipher()
        assert cipher
        assert cipher[0].startswith(("ECDHE", "TLS_"))


def test_http_2_is_offered(front: Front) -> None:
    context = front.tls()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with handshake(front, context) as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_plain_http_is_not_answered(front: Front) -> None:
    with socket.create_connection((front.address, number(front)), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: comms\r\n\r\n")
        plain.settimeout(5)
        try:
            answer = plain.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP")


SPOOFED = {
    "X-Forwarded-For": "10.9.9.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Server": "evil",
    "X-Real-IP": "10.9.9.9",
    "Forwarded": "for=10.9.9.9",
    "X-SSL-Client-CN": "admin",
    "Proxy": "http://evil.example",
}


def test_what_a_client_says_of_itself_is_not_believed(front: Front) -> None:
    status, said = fetch(url(front), headers=SPOOFED, **front.trusting())
    headers: dict[str, list[str]] = said["headers"]
    assert status == 200
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == [ELSEWHERE]
    assert headers["x-forwarded-proto"] == ["https"]
    assert headers["x-forwarded-host"] == [f"{front.address}:{number(front)}"]
    gone = {"x-forwarded-prefix", "x-forwarded-server", "forwarded", "x-ssl-client-cn", "proxy"}
    assert not gone & set(headers)


def test_a_header_twice_leaves_one_address(front: Front) -> None:
    with handshake(front, front.tls()) as connection:
        connection.sendall(
            b"GET /x HTTP/1.1\r\nHost: comms\r\nx-forwarded-for: 1.1.1.1\r\nX-FORWARDED-FOR: 2.2.2.2\r\n"
            b"Connection: close\r\n\r\n"
        )
        text = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"1.1.1.1" not in text
    assert b"2.2.2.2" not in text


async def _talk(front: Front, words: list[str], between: Any = None) -> list[str]:
    heard = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url(front, "/ws"), **front.trusting()) as channel,
    ):
        for word in words:
            await channel.send_str(word)
            heard.append(await channel.receive_str(timeout=5))
            if between:
                between()
    return heard


def test_web_sockets_come_through(front: Front) -> None:
    assert run(_talk(front, ["a", "b"])) == ["echo a", "echo b"]


def test_who_is_not_the_door_may_not_use_its_entrance(front: Front) -> None:
    with pytest.raises(OSError, match=r"(?i)reset|eof|closed"), _from(ELSEWHERE, front, ENTRANCE) as raw:
        raw.sendall(b"PROXY TCP4 10.9.9.9 10.9.9.9 1 1\r\n")
        front.tls().wrap_socket(raw, server_hostname="comms").close()


@pytest.mark.parametrize("source", [ELSEWHERE, "127.0.0.1"])
def test_nobody_names_another_client_on_the_port_for_everybody(front: Front, source: str) -> None:
    with pytest.raises(OSError, match=r"(?i)reset|eof|closed|wrong|protocol"), _from(source, front, 0) as raw:
        raw.sendall(b"PROXY TCP4 10.9.9.9 10.9.9.9 1 1\r\n")
        front.tls().wrap_socket(raw, server_hostname="comms").close()


def test_who_else_runs_on_the_doors_guest_comes_as_itself(front: Front) -> None:
    _, said = fetch(url(front), source="127.0.0.1", **front.trusting())
    assert said["headers"]["x-forwarded-for"] == ["127.0.0.1"]


def _from(source: str, front: Front, offset: int) -> socket.socket:
    return socket.create_connection((front.address, number(front) + offset), 5, source_address=(source, 0))


def test_statistics_are_on_a_socket_that_only_the_owner_opens(front: Front) -> None:
    assert (front.root / "run/admin.sock").stat().st_mode & 0o777 == 0o600
    assert "hub.web" in front.ask("show stat")


def test_no_path_and_no_token_stands_in_the_log(front: Front) -> None:
    role = hub()
    with a_front(a_run(role)) as lonely:
        status, _ = fetch(
            f"https://{lonely.address}:{role.provides[0].number}/secret-path?t=secret-token",
            **lonely.trusting(),
        )
        assert status == 503
        until(lambda: "503" in lonely.log)
        assert "secret" not in lonely.log


def test_a_program_that_is_away_is_said_so_and_found_again() -> None:
    role = hub()
    with a_front(a_run(role)) as front:
        until(lambda: fetch(url(front), **front.trusting())[0] == 503)
        with a_program(role.provides[0].behind or 0) as program:
            until(lambda: fetch(url(front), **front.trusting())[0] == 200)
            program.health = 500
            until(lambda: fetch(url(front), **front.trusting())[0] == 503)


def test_a_reload_brings_a_new_certificate_and_port_and_drops_no_web_socket() -> None:
    role = hub()
    with a_program(role.provides[0].behind or 0), a_front(a_run(role)) as front:
        until(lambda: fetch(url(front), **front.trusting())[0] == 200)
        reloaded: list[str] = []

        def reload() -> None:
            if reloaded:
                return
            reloaded.append(front.worker())
            front.run.secrets = front.run.secrets.__class__(
                Path("/nonexistent/a"), Path("/nonexistent/b"), {}
            )
            front.run.authority = Authority(front.run.secrets)
            front.write(front_hsts=3600)
            front.reload()

        assert run(_talk(front, ["a", "b", "c"], reload)) == ["echo a", "echo b", "echo c"]
        handshake(front, front.tls()).close()  # of the new authority
        assert front.worker() not in ("", reloaded[0])


def test_browsers_are_told_to_keep_to_https_only_where_asked() -> None:
    role = hub()
    with a_program(role.provides[0].behind or 0), a_front(a_run(role)) as front:
        for seconds, said in ((0, None), (3600, "max-age=3600")):
            front.write(front_hsts=seconds)
            front.reload()
            until(lambda: fetch(url(front), **front.trusting())[0] == 200)
            found = run(_header(front, "Strict-Transport-Security"))
            assert found == said


async def _header(front: Front, name: str) -> str | None:
    async with aiohttp.ClientSession() as session, session.get(url(front), **front.trusting()) as answer:
        return answer.headers.get(name)


def test_port_80_redirects_where_asked_whatever_name_was_typed() -> None:
    role, low = hub(), a_port()
    with a_front(a_run(role), front_redirect={"comms": "hub.web"}, low=low) as front:
        for host in ("comms", "comms:8080", "127.0.0.2"):
            status, (headers, _) = fetch(f"http://{front.address}:{low}/a?b=c", headers={"Host": host})
            wanted = f"https://{host.partition(':')[0]}:{role.provides[0].number}/a?b=c"
            assert (status, headers["Location"]) == (308, wanted)

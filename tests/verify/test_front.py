"""HAProxy before the web interfaces of a guest."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from sandbox import assert_confined
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.role.fronted import webs

CLOSED = 3  # seconds


def test_programs_behind_it_listen_on_loopback_only(under_test: UnderTest, guest: Guest, host: Any) -> None:
    sockets = host.socket.get_listening_sockets()
    for web in webs(guest, under_test.fleet, under_test.roles):
        mine = [text for text in sockets if text.endswith(f":{web.port.behind}")]
        assert mine, f"{web.name} does not listen on {web.port.behind}"
        assert all("://127." in text or "://::1" in text for text in mine)


def test_the_doors_entrance_is_for_the_door_alone(under_test: UnderTest, guest: Guest) -> None:
    """The machine that asks is not the front door: it is hung up on before it can say who it is."""
    for web in webs(guest, under_test.fleet, under_test.roles):
        if web.entrance is None:
            continue
        with (
            pytest.raises(OSError, match=r"(?i)reset|eof|closed|pipe|timed out"),
            socket.create_connection((address_of(guest), web.entrance), CLOSED) as raw,
        ):
            raw.sendall(b"PROXY TCP4 10.9.9.9 10.9.9.9 1 1\r\n")
            under_test.tls().wrap_socket(raw, server_hostname=guest.name).close()


def test_it_accepts_its_own_files_without_a_warning(host: Any) -> None:
    done = host.run("haproxy -c -f /etc/haproxy/hearth/haproxy.cfg")
    assert done.rc == 0
    assert "[WARNING]" not in done.stderr


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, "haproxy.service", "haproxy")


@pytest.mark.parametrize("path", ["/etc/haproxy/hearth/tls/server.pem", "/run/haproxy/admin.sock"])
def test_only_haproxy_opens_its_key_and_its_socket(
    under_test: UnderTest, guest: Guest, host: Any, path: str
) -> None:
    if path.endswith(".pem") and not webs(guest, under_test.fleet, under_test.roles):
        pytest.skip("no TLS ends on this guest")
    file = host.file(path)
    assert (file.user, file.mode) == ("haproxy", 0o600)

"""The tunnel's own command, run by the real bash, to a server on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from hearth.ops.tunnel import pipe_to, tunnel


class LocalSession:
    """A stand-in for a session on an SSH connection: the command runs here."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def exec_command(self, command: str, /) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # as sshd does it
        )

    def recv(self, size: int, /) -> bytes:
        assert self.process is not None and self.process.stdout is not None
        return self.process.stdout.read(size) or b""

    def sendall(self, data: bytes, /) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(data)

    def shutdown_write(self) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one request a connection, answers, and hangs up; its port and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


BODY = bytes(range(256)) * 4096  # every byte, a megabyte of them
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY


def test_bytes_arrive_as_they_are_and_the_servers_farewell_ends_the_connection() -> None:
    with answering(ANSWER) as (port, asked), tunnel(LocalSession, port) as path:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            for _ in range(2):
                assert client.get("http://localhost/x", timeout=20).content == BODY
        assert [line.split(b"\r\n")[0] for line in asked] == [b"GET /x HTTP/1.1"] * 2


def test_the_socket_is_only_ours_and_gone_afterwards() -> None:
    with tunnel(LocalSession, 1) as path:
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


def test_where_nothing_listens_the_connection_ends() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with tunnel(LocalSession, port) as path, pytest.raises(httpx.TransportError):
            httpx.Client(transport=httpx.HTTPTransport(uds=str(path))).get("http://localhost/", timeout=20)


def test_our_farewell_ends_the_command() -> None:
    sessions: list[LocalSession] = []

    def session() -> LocalSession:
        sessions.append(LocalSession())
        return sessions[-1]

    with answering(b"") as (port, _), tunnel(session, port) as path:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"x")
            assert client.recv(1) == b""
        (only,) = sessions
        assert only.process is not None
        only.process.wait(10)


def test_nothing_of_it_outlives_our_farewell_although_the_server_stays_on_the_line() -> None:
    """A copy that stays holds its session open, and an SSH connection has ten of them."""
    session = LocalSession()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with tunnel(lambda: session, server.getsockname()[1]) as path:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"x")
                line, _ = server.accept()
                assert line.recv(1) == b"x"
            assert session.process is not None
            deadline = time.monotonic() + 10
            with pytest.raises(ProcessLookupError):
                while time.monotonic() < deadline:
                    session.process.poll()
                    os.killpg(session.process.pid, 0)
                    time.sleep(0.05)
        line.close()


def test_a_session_that_cannot_be_opened_ends_the_connection() -> None:
    def refused() -> LocalSession:
        raise OSError("administratively prohibited")

    with tunnel(refused, 1) as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert client.recv(1) == b""


def test_the_command_needs_no_forwarding() -> None:
    assert "/dev/tcp/127.0.0.1/18123" in pipe_to(18123)

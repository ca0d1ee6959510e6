"""A port of a guest's loopback, reached through the SSH connection there already is.

sshd's own forwarding (direct-tcpip) stays closed on every guest, so an ordinary session carries the bytes:
bash opens the port (bash(1), "/dev/tcp/host/port") and two `cat` copy. On this side it is a Unix socket in a
folder that only this user can enter: a port of our own loopback would be open to every user of this machine.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from paramiko import SSHException

CHUNK = 65536
# Whichever side ends first takes the other copy with it: one that stayed would hold its session open, and a
# connection has ten of them (sshd_config(5), MaxSessions).
PIPE = (
    "exec 3<>/dev/tcp/127.0.0.1/{port} 4<&0 || exit 1; "
    "cat <&3 2>/dev/null & cat <&4 >&3 2>/dev/null & wait -n; kill $(jobs -p) 2>/dev/null"
)


class Channel(Protocol):
    """What is used of `paramiko.Channel`."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...
    def exec_command(self, command: str, /) -> None: ...


def pipe_to(port: int) -> str:
    """The command that joins its standard input and output to a TCP port of 127.0.0.1."""
    return f"exec bash -c {shlex.quote(PIPE.format(port=port))}"


@contextlib.contextmanager
def tunnel(session: Callable[[], Channel], port: int) -> Iterator[Path]:
    """A Unix socket that leads to a port of the guest's loopback for as long as the context lasts.

    Args:
        session: opens a new session on the guest's SSH connection (`paramiko.Transport.open_session`).
        port: TCP port on the guest's 127.0.0.1.

    Returns:
        The socket's path. Where nothing listens in the guest, a connection is accepted and then closed.
    """
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder) / "socket"
        server.bind(str(path))
        server.listen()
        joined: list[_Joined] = []
        threading.Thread(target=_serve, args=(server, session, port, joined), daemon=True).start()
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes the accept()
            for connection in joined:
                connection.close()


def _serve(server: socket.socket, session: Callable[[], Channel], port: int, joined: list[_Joined]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        try:
            channel = session()
            channel.exec_command(pipe_to(port))
        except (SSHException, OSError, EOFError):
            client.close()
            continue
        joined.append(_Joined(client, channel))


class _Joined:
    """A local connection and a channel, each copied to the other."""

    def __init__(self, client: socket.socket, channel: Channel) -> None:
        self._client, self._channel = client, channel
        for copy in (self._up, self._down):
            threading.Thread(target=copy, daemon=True).start()

    def _up(self) -> None:
        with contextlib.suppress(OSError, EOFError, SSHException):
            while data := self._client.recv(CHUNK):
                self._channel.sendall(data)
        with contextlib.suppress(OSError, EOFError, SSHException):
            self._channel.shutdown_write()

    def _down(self) -> None:
        with contextlib.suppress(OSError, EOFError, SSHException):
            while data := self._channel.recv(CHUNK):
                self._client.sendall(data)
        self.close()

    def close(self) -> None:
        """End both."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        with contextlib.suppress(OSError, EOFError, SSHException):
            self._channel.close()

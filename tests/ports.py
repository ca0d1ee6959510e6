"""Ports for servers that a test starts, stops and starts again."""

from __future__ import annotations

import contextlib
import secrets
import socket

LOWEST = 11_000
EPHEMERAL = 32_000  # from about here on the kernel takes ports for whoever calls out (ip_local_port_range)


def free_port() -> int:
    """A TCP port of loopback that nobody used a moment ago, and no caller's own end can be on.

    A client that calls a stopped server again and again may get the server's port as its own otherwise, and
    even be connected with itself; then the server cannot come back.
    """
    while True:
        port = LOWEST + secrets.randbelow(EPHEMERAL - LOWEST)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port

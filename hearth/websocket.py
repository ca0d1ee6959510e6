"""Opening a WebSocket over TLS without losing the request.

The library reads in a thread of its own from the start. Before Python 3.13 an `SSLSocket` has no lock: where
the thread takes in TLS 1.3's session tickets while the request is being written, the request is not sent, and
the server ends the wait (HTTP 408, after HAProxy's ten seconds). Seen in 7 of 1000 connections on two busy
cores, and in none with TLS 1.2, which has no such tickets.
"""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any, cast

from websockets.sync.client import ClientConnection, connect


class AsksFirst(ssl.SSLSocket):
    """A TLS connection on which nothing is read before something was written, for who speaks first."""

    def do_handshake(self, block: bool = False) -> None:
        """As in `ssl.SSLSocket`."""
        self._begun = threading.Event()
        self._asked = False
        super().do_handshake(block)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As in `ssl.SSLSocket`, once something was sent; nothing where the connection ended before that."""
        self._begun.wait()
        return super().recv(buflen, flags) if self._asked else b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As in `ssl.SSLSocket`."""
        super().sendall(data, flags)
        self._asked = True
        self._begun.set()

    def shutdown(self, how: int) -> None:
        """As in `ssl.SSLSocket`."""
        self._end()
        super().shutdown(how)

    def close(self) -> None:
        """As in `ssl.SSLSocket`."""
        self._end()
        super().close()

    def _end(self) -> None:
        if hasattr(self, "_begun"):  # not where there was no handshake
            self._begun.set()


class _Asking:
    """A context that makes such connections, for the library to wrap its socket with.

    The caller's own context stays as it is: others make connections with it on which the server speaks first.
    """

    _turn = threading.Lock()

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    def wrap_socket(self, sock: socket.socket, server_hostname: str | None = None) -> ssl.SSLSocket:
        """As in `ssl.SSLContext`."""
        with self._turn:
            before, self._tls.sslsocket_class = self._tls.sslsocket_class, AsksFirst
            try:
                made = self._tls.wrap_socket(
                    sock, server_hostname=server_hostname, do_handshake_on_connect=False
                )
            finally:
                self._tls.sslsocket_class = before
        made.do_handshake()
        return made


def opened(url: str, tls: ssl.SSLContext | None = None, **how: Any) -> ClientConnection:
    """An open connection, which a `with` block may close.

    Args:
        url: `ws://...` or `wss://...`.
        tls: verifies the server's certificate; None where there is no TLS, or for the system's authorities.
        how: further arguments of `websockets.sync.client.connect`.

    Raises:
        OSError, WebSocketException: there is no connection, or the server refuses it.
    """
    if tls is None and url.startswith("wss:"):
        tls = ssl.create_default_context()
    asking = None if tls is None else cast(ssl.SSLContext, _Asking(tls))
    # `legacy` is how websockets 17 calls a connection that is opened at once, and not by `with`.
    return connect(url, ssl=asking, proxy=None, legacy=True, **how)

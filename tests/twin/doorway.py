"""A door of loopback to a twin's API, for what has to stand outside of the twin's network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.twin.handle import NODE, TwinHandle

API = 8006
CHUNK = 1 << 16


@contextmanager
def doorway(twin: TwinHandle) -> Iterator[int]:
    """The port of loopback at which the twin's API answers meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_open, args=(twin, door), daemon=True).start()
        yield door.getsockname()[1]


def _open(twin: TwinHandle, door: socket.socket) -> None:
    with suppress(OSError):  # it was shut
        while True:
            outer, _ = door.accept()
            inner = twin.call(lambda: socket.create_connection((NODE, API), 10))
            inner.settimeout(None)
            for one, other in ((outer, inner), (inner, outer)):
                threading.Thread(target=_pass, args=(one, other), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

"""Zigbee2MQTT's frontend as a browser has it: a WebSocket that tells what there is, and takes requests."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed

from hearth.websocket import opened

PATIENCE = 15.0  # seconds
UNAUTHORIZED = 4401  # how it closes on a wrong token, lib/extension/frontend.ts


class UnauthorizedError(Exception):
    """The frontend closed the connection because of the token."""


class Frontend:
    """A connection to the frontend, closed at the end of a `with` block.

    Args:
        address: host name or IP address, which the certificate must be for.
        port: the TLS port.
        tls: the context to connect with.
        token: `auth_token`; None: none is sent.

    Raises:
        UnauthorizedError: the token is not the one.
        OSError: there is no connection, or no TLS that holds.
    """

    def __init__(self, address: str, port: int, tls: ssl.SSLContext, token: str | None) -> None:
        query = f"?{urlencode({'token': token})}" if token is not None else ""
        url = f"wss://{address}:{port}/api{query}"
        self._open = ExitStack()
        self._socket = self._open.enter_context(opened(url, tls, max_size=None, open_timeout=PATIENCE))
        # The last message of each topic (without `zigbee2mqtt/`). At first it sends all that is retained.
        self.topics: dict[str, Any] = {}
        try:
            self.wait(bool)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Frontend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def send(self, topic: str, payload: Any) -> None:
        """Ask for something, e.g. `bridge/request/permit_join`, {"time": 60}."""
        self._socket.send(json.dumps({"topic": topic, "payload": payload}))

    def wait(self, until: Callable[[dict[str, Any]], Any], timeout: float = PATIENCE) -> Any:
        """What a look at the topics gives, as soon as it is true.

        Raises:
            UnauthorizedError: the frontend closed because of the token.
            AssertionError: it did not come true.
        """
        deadline = time.monotonic() + timeout
        while not (found := until(self.topics)):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {timeout} s; the topics: {sorted(self.topics)}"
            try:
                message = json.loads(self._socket.recv(left))
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == UNAUTHORIZED:
                    raise UnauthorizedError from None
                raise
            self.topics[message["topic"]] = message["payload"]
        return found

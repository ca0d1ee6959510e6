"""The radio's serial line as a TCP server: one client at a time, a new one takes the place of the old."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from zigpy_znp.uart import ZnpMtProtocol

from twin.devices.zigbee import monitor, monitor_af, monitor_sys, monitor_zdo
from twin.devices.zigbee.radio import Radio
from twin.devices.zigbee.store import Store

HANDLERS = (monitor_af, monitor_sys, monitor_zdo)  # their import registers what they answer
AIR = 0.005  # seconds until what comes from the air (or the firmware itself) follows the response
log = logging.getLogger("twin.devices.zigbee")


class Line:
    """The server, and the client that holds the line.

    Args:
        host: address to listen on.
        port: TCP port.
        store: what keeps the radio's memory.
    """

    def __init__(self, host: str, port: int, store: Store) -> None:
        self.host, self.port = host, port
        self.radio = Radio(self._emit)
        self._store = store
        self._store.load(self.radio)
        self._client: _Client | None = None
        self._server: asyncio.Server | None = None

    @property
    def connected(self) -> bool:
        """Whether a client holds the line."""
        return self._client is not None

    @property
    def listening(self) -> bool:
        """Whether a client could connect."""
        return self._server is not None

    async def plug_in(self) -> None:
        """Listen; nothing where it does."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._new_client, self.host, self.port)
            self.radio.note("radio", "plugged in")

    async def pull_out(self) -> None:
        """Stop listening and hang up: the radio is gone, and comes back with nothing but its memory."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._take(None)
            self.radio.restart()
            self.radio.note("radio", "pulled out")

    def saved(self) -> None:
        """Write down what changed."""
        self._store.save(self.radio)

    def received(self, client: _Client, frame: Any) -> None:
        """Answer a frame of the client that holds the line."""
        if client is not self._client:
            return
        for response in monitor.answer(self.radio, frame):
            client.uart.send(response)
        self.saved()

    def lost(self, client: _Client) -> None:
        """A client went away."""
        if client is self._client:
            self._client = None
            log.info("client gone")

    def _new_client(self) -> ZnpMtProtocol:
        client = _Client(self)
        return client.uart

    def took(self, client: _Client) -> None:
        """A client connected."""
        self._take(client)
        log.info("client connected")

    def _take(self, client: _Client | None) -> None:
        old, self._client = self._client, client
        if old is not None:
            old.uart.close()

    def _emit(self, message: Any) -> None:
        with suppress(RuntimeError):  # no loop: nobody can be connected either
            asyncio.get_running_loop().call_later(AIR, self._send, message.to_frame())

    def _send(self, frame: Any) -> None:
        if self._client is not None:
            self._client.uart.send(frame)


class _Client:
    """One connection, as zigpy-znp's protocol wants its owner to be."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.uart = ZnpMtProtocol(self)

    def connection_made(self) -> None:
        self._line.took(self)

    def connection_lost(self, _error: BaseException | None) -> None:
        self._line.lost(self)

    def frame_received(self, frame: Any) -> None:
        self._line.received(self, frame)

"""Home Assistant's WebSocket API, as an app holds it.

Source: developers.home-assistant.io, "WebSocket API".
"""

from __future__ import annotations

import json
import queue
import ssl
import threading
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from hearth.errors import HearthError
from hearth.websocket import opened

PATIENCE = 15.0


class Socket:
    """One authenticated connection; commands and events from any thread.

    Args:
        url: Home Assistant's base URL (https://ADDRESS:8123).
        token: access token.
        tls: verifies its certificate; None where the URL is http.
        source: own address; empty: whatever the system takes.

    Raises:
        HearthError: it does not answer, or refuses the token.
    """

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None, source: str = "") -> None:
        self._lock = threading.Lock()
        self._id = 0
        self._answers: dict[int, queue.Queue[dict[str, Any] | None]] = {}
        self._lost = threading.Event()
        self._open = ExitStack()
        self._connection = self._connected(url, tls, source)
        self._authenticate(token)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self, kind: str, timeout: float = PATIENCE, **fields: Any) -> Any:
        """Send a command and return its result.

        Raises:
            HearthError: the server refuses it, in its words, or the connection is lost.
        """
        number, answers = self._send(kind, fields)
        try:
            return self._result(kind, answers, timeout)
        finally:
            self._answers.pop(number, None)

    def subscribe(self, kind: str, **fields: Any) -> queue.Queue[dict[str, Any] | None]:
        """Send a command that subscribes; returns its events as they come, None when the connection is lost.

        Raises:
            HearthError: the server refuses it, or the connection is lost.
        """
        _, answers = self._send(kind, fields)
        self._result(kind, answers, PATIENCE)
        return answers

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost.is_set()

    def close(self) -> None:
        """Hang up."""
        self._open.close()
        self._reader.join(PATIENCE)

    def _connected(self, url: str, tls: ssl.SSLContext | None, source: str) -> ClientConnection:
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        extra: dict[str, Any] = {"source_address": (source, 0)} if source else {}
        try:
            connection = opened(
                f"{scheme}://{parts.netloc}/api/websocket",
                tls if scheme == "wss" else None,
                open_timeout=PATIENCE,
                max_size=None,
                **extra,
            )
            self._open.enter_context(connection)
        except (OSError, WebSocketException) as error:
            raise HearthError(f"connect to {url}", str(error) or type(error).__name__) from error
        return connection

    def _authenticate(self, token: str) -> None:
        try:
            self._connection.recv(timeout=PATIENCE)
            self._connection.send(json.dumps({"type": "auth", "access_token": token}))
            answer = json.loads(self._connection.recv(timeout=PATIENCE))
        except (OSError, WebSocketException) as error:
            raise HearthError("log in over the WebSocket", str(error) or type(error).__name__) from error
        if answer["type"] != "auth_ok":
            self._open.close()
            raise HearthError("log in over the WebSocket", answer.get("message", answer["type"]))

    def _send(self, kind: str, fields: dict[str, Any]) -> tuple[int, queue.Queue[dict[str, Any] | None]]:
        with self._lock:
            self._id += 1
            number = self._id
            answers = self._answers[number] = queue.Queue()
            try:
                self._connection.send(json.dumps({"id": number, "type": kind, **fields}))
            except (OSError, WebSocketException) as error:
                raise HearthError(f"send {kind}", "the connection is lost") from error
        return number, answers

    def _result(self, kind: str, answers: queue.Queue[dict[str, Any] | None], timeout: float) -> Any:
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise HearthError(f"send {kind}", f"no answer within {timeout:g} s") from None
        if answer is None:
            raise HearthError(f"send {kind}", "the connection is lost")
        if not answer.get("success", True):
            raise HearthError(f"send {kind}", answer["error"]["message"])
        return answer.get("result")

    def _read(self) -> None:
        with suppress(OSError, WebSocketException):
            for text in self._connection:
                for message in _messages(json.loads(text)):
                    waiting = self._answers.get(message.get("id", 0))
                    if waiting is not None:
                        waiting.put(message)
        self._lost.set()
        for waiting in list(self._answers.values()):
            waiting.put(None)


def _messages(data: Any) -> list[dict[str, Any]]:
    """Home Assistant may put several messages into one frame."""
    return data if isinstance(data, list) else [data]

"""A client of Home Assistant's REST and WebSocket API.

REST: developers.home-assistant.io/docs/api/rest; WebSocket: .../docs/api/websocket; logins:
.../docs/auth_api. Seen on 2026.11.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, unix_connect

from hearth.errors import HearthError
from hearth.websocket import opened

TIMEOUT = 60.0  # seconds; setting up an integration waits for its server
HANGS_UP = 2.0  # seconds for a farewell
LARGEST = 64 * 1024 * 1024  # bytes of one WebSocket message: a registry of a large home


class NotThereError(HearthError):
    """Home Assistant does not answer."""


class LostError(NotThereError):
    """The line to Home Assistant broke, or nobody is there."""


class RefusedError(HearthError):
    """Home Assistant answered, and said no.

    Args:
        status: HTTP status, or 0 for a WebSocket command.
        code: the error code of a WebSocket command ("not_found"), or nothing.
    """

    def __init__(self, action: str, reason: str, remedy: str = "", status: int = 0, code: str = "") -> None:
        super().__init__(action, reason, remedy)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Place:
    """Where Home Assistant answers.

    Args:
        name: what the admin calls it: the guest.
        url: `http://...` or `https://...`, without a path.
        socket: a Unix socket that leads there (`hearth.ops.tunnel`), instead of the URL's host.
        trusted: the authorities that its certificate may come from; None: the system's.
    """

    name: str
    url: str
    socket: Path | None = None
    trusted: ssl.SSLContext | None = None

    @property
    def origin(self) -> str:
        """Client id and redirect address of logins: `indieauth` wants both under one host."""
        return self.url.rstrip("/") + "/"


class Client:
    """A connection to Home Assistant, with a token or without.

    Args:
        place: where it is.
        token: access token; empty: none.
    """

    def __init__(self, place: Place, token: str = "") -> None:
        self.place = place
        self._token = token
        self._http: httpx.Client | None = None
        self._socket: Socket | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next call dials again."""
        if self._socket:
            self._socket.close()
        if self._http:
            self._http.close()
        self._socket = self._http = None

    def with_token(self, token: str) -> Client:
        """Another connection to the same place."""
        return Client(self.place, token)

    # ------------------------------------------------------------------- REST

    def call(self, method: str, path: str, action: str, **content: Any) -> Any:
        """One REST request's answer, read as JSON (None where it has none).

        Args:
            method: GET, POST, DELETE.
            path: with its slash.
            action: what is being done, for the error: "create the owner".
            content: `json`, `data` or `files`, as httpx has them.

        Raises:
            NotThereError: nothing answers.
            RefusedError: the status is no success.
        """
        answer = self.answer(method, path, **content)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise RefusedError(self._doing(action), _reason(answer), status=answer.status_code)

    def answer(self, method: str, path: str, **content: Any) -> httpx.Response:
        """One REST request's answer, whatever its status; NotThereError where nothing answers."""
        try:
            return self._dialled().request(method, path, **content)
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _dialled(self) -> httpx.Client:
        if self._http is None:
            place = self.place
            verify: ssl.SSLContext | bool = place.trusted or True
            transport = httpx.HTTPTransport(uds=str(place.socket) if place.socket else None, verify=verify)
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            # Nobody's proxy and netrc: the address is one of the home's own.
            self._http = httpx.Client(
                transport=transport, base_url=place.url, headers=headers, timeout=TIMEOUT, trust_env=False
            )
        return self._http

    # -------------------------------------------------------------- WebSocket

    def ask(self, command: str, action: str, **content: Any) -> Any:
        """The result of a WebSocket command.

        Args:
            command: its `type`, e.g. "auth/refresh_tokens".
            action: what is being done, for the error.
            content: the command's other keys.

        Raises:
            NotThereError: nothing answers.
            RefusedError: the token is not accepted, or the command refused.
        """
        try:
            if self._socket is None:
                self._socket = Socket(self.place, self._token)
            return self._socket.ask(command, self._doing(action), content)
        except (OSError, WebSocketException, EOFError) as error:
            self._socket = None
            raise self._away(error) from error

    # ------------------------------------------------------------------ words

    def _doing(self, action: str) -> str:
        return f"{action} of Home Assistant on {self.place.name}"

    def _away(self, error: Exception) -> LostError:
        reason = str(error) or type(error).__name__
        return LostError(
            f"reach Home Assistant on {self.place.name}", reason, "journalctl -u home-assistant there"
        )


class Socket:
    """An authenticated WebSocket.

    Args:
        place: where it is.
        token: access token.

    Raises:
        RefusedError: the token is not accepted.
        OSError, WebSocketException: it cannot be opened.
    """

    def __init__(self, place: Place, token: str) -> None:
        self._place = place
        self._connection = _opened(place)
        self._number = 0
        self._read()  # auth_required
        self._send({"type": "auth", "access_token": token})
        answer = self._read()
        if answer["type"] != "auth_ok":
            self.close()
            action = f"log in to Home Assistant on {place.name}"
            raise RefusedError(action, str(answer.get("message")), status=401)

    def ask(self, command: str, action: str, content: Mapping[str, Any]) -> Any:
        """A command's result; RefusedError where it is refused."""
        number = self.send(command, content)
        while True:
            answer = self._read()
            if answer.get("id") == number and answer["type"] == "result":
                break
        if answer["success"]:
            return answer["result"]
        error = answer["error"]
        code = str(error.get("code"))
        raise RefusedError(action, f"{error.get('message')} ({code})", code=code)

    def send(self, command: str, content: Mapping[str, Any]) -> int:
        """Send a command; its number, which events and the result carry."""
        self._number += 1
        self._send({**content, "id": self._number, "type": command})
        return self._number

    def event(self, number: int, within: float) -> Any:
        """The next event of a subscription; TimeoutError after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            answer = self._read(max(0.0, deadline - time.monotonic()))
            if answer.get("id") == number and answer["type"] == "event":
                return answer["event"]

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError, WebSocketException):
            self._connection.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        self._connection.send(json.dumps(message))

    def _read(self, within: float = TIMEOUT) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._connection.recv(timeout=within))
        return found


def _opened(place: Place) -> ClientConnection:
    address = place.url.replace("http", "ws", 1) + "/api/websocket"
    patience: dict[str, Any] = {"max_size": LARGEST, "open_timeout": TIMEOUT, "close_timeout": HANGS_UP}
    if place.socket:
        return unix_connect(str(place.socket), address, legacy=True, **patience)
    secure = place.trusted if address.startswith("wss:") else None
    return opened(address, secure, **patience)


def _reason(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        said = found.get("message") or found.get("error_description") or found.get("errors") or found
    except (ValueError, AttributeError):
        said = answer.text.strip()
    return f"{said or answer.reason_phrase} (HTTP {answer.status_code})"


def until(what: str, place: Place, ready: Callable[[], bool], within: float, every: float = 0.25) -> None:
    """Ask again and again until it is so.

    Args:
        what: what is awaited, for the error: "be up".
        place: where.
        ready: asks; NotThereError counts as no.
        within: seconds.
        every: seconds between two questions.

    Raises:
        NotThereError: it never was.
    """
    deadline = time.monotonic() + within
    last: object = "it never was so"
    while True:
        try:
            if ready():
                return
        except NotThereError as error:
            last = error.reason
        if time.monotonic() > deadline:
            raise NotThereError(
                f"wait for Home Assistant on {place.name} to {what}",
                f"{last} for {within:.0f} s",
                "journalctl -u home-assistant there",
            )
        time.sleep(every)

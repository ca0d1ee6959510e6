"""The WebSocket stream: every run's changes out, triggers in."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import socket
import struct
import threading
from typing import Any

from flask import Flask, g
from flask_sock import Sock
from simple_websocket import ConnectionClosed

from ai_automation.config import Client
from ai_automation.engine import RefusedError
from ai_automation.run import Trigger
from ai_automation.service import Service
from ai_automation.streams import Listener

_log = logging.getLogger(__name__)

_PING = 25  # seconds; a dead connection is noticed after two
_SEND = 10  # seconds that a client may take for one message
_LOOK = 2  # seconds between looks whether the connection was closed from our side
_GOING_AWAY, _TRY_LATER = 1001, 1013  # RFC 6455 and IANA's close codes


class _Daemon(threading.Thread):
    """simple-websocket's reader must not keep a process alive that is told to end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, daemon=True)


def add_stream(app: Flask, service: Service) -> None:
    """Serve /ws. Who may is decided before, as for any request (api.py)."""
    app.config["SOCK_SERVER_OPTIONS"] = {
        "ping_interval": _PING,
        "max_message_size": service.config.limits.body_bytes,
        "thread_class": _Daemon,
    }
    sock = Sock(app)

    @sock.route("/ws")  # type: ignore[untyped-decorator]
    def stream(ws: Any) -> None:
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND, 0))
        listener = service.streams.join()
        if listener is None:
            ws.close(_TRY_LATER, "too many streams, or stopping")
            return
        try:
            listener.put(_hello(service))
            _Daemon(target=_send_all, args=(ws, listener)).start()
            _read_all(ws, listener, service, g.client)
        finally:
            service.streams.leave(listener)
            listener.lost.set()
            listener.put(None)


def _hello(service: Service) -> dict[str, Any]:
    return {
        "type": "hello",
        "unfinished": [run.to_json() for run in service.engine.unfinished()],
        "interrupted": [run.to_json() for run in service.interrupted],
    }


def _send_all(ws: Any, listener: Listener) -> None:
    """Send until there is nothing more to send; then close."""
    with contextlib.suppress(ConnectionClosed, OSError):
        while not listener.lost.is_set():
            try:
                message = listener.messages.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if message is None:
                ws.close(_GOING_AWAY, "stopping")
                return
            ws.send(json.dumps(message))
    with contextlib.suppress(ConnectionClosed, OSError):
        ws.close(_TRY_LATER, "too slow")
    ws.connected = False  # also where a send failed half-way


def _read_all(ws: Any, listener: Listener, service: Service, client: Client) -> None:
    while ws.connected:
        text = ws.receive(timeout=_LOOK)
        if text is not None:
            listener.put(_answer(text, service, client))


def _answer(text: str | bytes, service: Service, client: Client) -> dict[str, Any]:
    """The answer to a client's message; its `id` comes back."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return _refusal(None, "malformed", "a message is JSON")
    if not isinstance(message, dict):
        return _refusal(None, "malformed", "a message is a JSON object")
    number = message.get("id")
    match message.get("type"):
        case "ping":
            return {"type": "pong", "id": number}
        case "trigger":
            return _trigger(number, message, service, client)
        case other:
            return _refusal(number, "malformed", f"type is trigger or ping, not {other!r}"[:200])


def _trigger(number: Any, message: dict[str, Any], service: Service, client: Client) -> dict[str, Any]:
    if "trigger" not in client.scopes:
        return _refusal(number, "forbidden", f"{client.name} lacks the scope trigger")
    trigger = Trigger("websocket", message.get("data"), by=client.name)
    try:
        run = service.engine.call(str(message.get("automation", "")), trigger)
    except RefusedError as error:
        return _refusal(number, error.code, str(error))
    return {"type": "result", "id": number, "run": run.id}


def _refusal(number: Any, code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "id": number, "error": {"code": code, "message": message}}

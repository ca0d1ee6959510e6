"""Stand-ins on loopback for Home Assistant, the MCP hub and a model: real HTTP, recorded requests."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    token: str
    body: Any


@dataclass
class Answer:
    """What goes out. `after` seconds; `raw` instead of JSON where given."""

    status: int = 200
    body: Any = field(default_factory=list)
    after: float = 0
    raw: bytes | None = None
    gate: threading.Event | None = None  # not before this is set


Answers = Callable[[Request], Answer | None]


class Peer:
    """An HTTP server that answers what the test wants: `answers[path]`, a list used up but for its last."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, list[Answer]] = {}
        self._open: list[socket.socket] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                peer._open.append(self.request)
                super().setup()

            def do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                request = Request(self.command, self.path, token, json.loads(raw) if raw else None)
                self.answer(peer.take(request))

            do_GET = do_POST = do  # noqa: N815

            def answer(self, answer: Answer) -> None:
                time.sleep(answer.after)
                if answer.gate is not None:
                    answer.gate.wait(20)
                raw = json.dumps(answer.body).encode() if answer.raw is None else answer.raw
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                except OSError:
                    pass  # the client went, as some tests mean it to

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No longer there: open connections end, new ones are refused."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, request: Request) -> Answer:
        self.requests.append(request)
        waiting = self.answers.get(request.path, [Answer()])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def calls(self, part: str = "/api/services") -> list[Request]:
        """The requests whose path begins so, without the health probes."""
        return [request for request in self.requests if request.path.startswith(part)]


COMPLETIONS = "/v1/chat/completions"


def chat_peer() -> Peer:
    """A peer that declines until the test says what the model answers."""
    peer = Peer()
    peer.answers[COMPLETIONS] = [says("I would rather not.")]
    return peer


def chooses(*calls: tuple[str, Any]) -> Answer:
    """The answer of a model that calls these tools; arguments that are no text are written as JSON."""
    tool_calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": a if isinstance(a, str) else json.dumps(a)},
        }
        for number, (name, a) in enumerate(calls)
    ]
    return _completion({"role": "assistant", "content": None, "tool_calls": tool_calls})


def says(text: str) -> Answer:
    """The answer of a model that writes a text."""
    return _completion({"role": "assistant", "content": text})


def _completion(message: dict[str, Any]) -> Answer:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Answer(200, {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]})

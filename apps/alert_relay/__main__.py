"""`python3 -m alert_relay SETTINGS`: take alerts from Alertmanager on loopback, and send them on, for ever.

`python3 -m alert_relay --check SETTINGS` only says whether it could begin.

SETTINGS is JSON: "listen", [address, port]; "targets", name -> URL as Apprise has it; "heartbeat", such a URL
or null. A group of alerts that is posted to /to/NAME goes to that target; one to /heartbeat becomes a sign of
life there. What a target does not take is answered with 502: Alertmanager tries again.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from alert_relay.message import Message, message
from alert_relay.send import known, send

LARGEST = 4 * 1024 * 1024  # bytes of a group of alerts
ALIVE = Message("alive", "monitoring lives", priority="min")


def answering(settings: Mapping[str, Any]) -> type[BaseHTTPRequestHandler]:
    """What answers Alertmanager."""
    targets: Mapping[str, str] = settings["targets"]
    heartbeat: str | None = settings.get("heartbeat")

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200 if self.path == "/health" else 404, "")

        def do_POST(self) -> None:
            try:
                group = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), LARGEST)))
                told = message(group)
            except (ValueError, TypeError, AttributeError) as error:
                self._answer(400, f"no group of alerts: {error}")
                return
            name = self.path.removeprefix("/to/")
            if self.path == "/heartbeat" and heartbeat:
                self._deliver("the heartbeat", heartbeat, ALIVE)
            elif self.path.startswith("/to/") and name in targets:
                self._deliver(name, targets[name], told)
            else:
                self._answer(404, "no such target")

        def _deliver(self, name: str, url: str, told: Message) -> None:
            if send(url, told):
                self._answer(200, "")
            else:
                # The URL may hold a password: it is not said.
                print(f"{name} did not take: {told.title}", file=sys.stderr, flush=True)
                self._answer(502, f"{name} did not take it")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """What went well needs no line."""

    return Answer


def main(path: str) -> None:
    """Serve until SIGTERM."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    host, port = settings["listen"]
    server = ThreadingHTTPServer((host, int(port)), answering(settings))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


def check(path: str) -> None:
    """Whether it could begin with these settings; the reason ends the program."""
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        int(settings["listen"][1])
        urls = {
            **settings["targets"],
            **({"heartbeat": settings["heartbeat"]} if settings.get("heartbeat") else {}),
        }
        wrong = [name for name, url in urls.items() if not known(url)]
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        sys.exit(f"{path}: {type(error).__name__}: {error}")
    if wrong:
        sys.exit(f"{path}: Apprise does not know how to reach {', '.join(wrong)}")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main(sys.argv[1])

"""`python3 -m mqtt_metrics SETTINGS`: ask the brokers, and answer Prometheus, for ever.

`python3 -m mqtt_metrics --check SETTINGS` only says whether it could begin.

SETTINGS is JSON: "listen", [address, port]; "ca", the file of the authority of the brokers' certificates, or
null for plain TCP; "user", "password"; "brokers", a list with each one's "guest", "host" and "port", the
first first.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mqtt_metrics.brokers import Brokers
from mqtt_metrics.state import Broker, State

BEATS = 15.0  # seconds between two


def brokers_of(settings: dict[str, Any]) -> Brokers:
    """The connections; nothing is contacted yet."""
    names = [str(one["guest"]) for one in settings["brokers"]]
    state = State({name: Broker(name, first=name == names[0]) for name in names})
    return Brokers(settings, state)


def answering(brokers: Brokers) -> type[BaseHTTPRequestHandler]:
    """What answers Prometheus."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = brokers.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Prometheus asks every few seconds: no line for each."""

    return Answer


def main(path: str) -> None:
    """Serve until SIGTERM."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    brokers = brokers_of(settings)
    host, port = settings["listen"]
    server = ThreadingHTTPServer((host, int(port)), answering(brokers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    brokers.start()
    while not ended.wait(BEATS):
        brokers.beat()
    brokers.stop()


def check(path: str) -> None:
    """Whether it could begin with these settings; the reason ends the program."""
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        brokers_of(settings)
        int(settings["listen"][1])
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        sys.exit(f"{path}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main(sys.argv[1])

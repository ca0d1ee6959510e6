"""What tells people, on loopback: the relay, a stand-in for ntfy behind TLS, another service."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from monitor_kit import environment, folder, listens, put, running, until
from role_kit import PROJECT, FakeRun, fleet, guest

from tests.ports import free_port

PYTHON = "/usr/bin/python3"  # Debian's: the guests' programs run with it
STAND_IN = PROJECT / "twin/ntfy_stand_in.py"


def a_run() -> FakeRun:
    """Two names of this machine: alerts come from one, ntfy and the dead man are the other."""
    return FakeRun(
        fleet(
            guest("monitoring", 137, "metrics", "monitoring", "alerts", address="127.0.0.1"),
            guest("localhost", 138, "metrics", "ntfy", "front", "dead_man", address="127.0.0.2"),
        )
    )


def ntfy_text(run: FakeRun, **data: Any) -> str:
    """ntfy's settings."""
    from roles.ntfy import configuration

    return configuration(run.here("localhost", "ntfy", **data)).text


@contextlib.contextmanager
def a_ntfy(run: FakeRun, root: Path) -> Iterator[int]:
    """The stand-in, with the settings that the role writes; its port."""
    port = free_port()
    text = ntfy_text(run).replace("127.0.0.1:12586", f"127.0.0.1:{port}").replace("/var/lib/ntfy", str(root))
    (root / "server.yml").write_text(text)
    with running(PYTHON, STAND_IN, "serve", "-c", root / "server.yml", log=root / "ntfy.log"):
        until(lambda: listens(port), why=(root / "ntfy.log").read_text)
        yield port


@contextlib.contextmanager
def tls_before(port: int, run: FakeRun, name: str) -> Iterator[int]:
    """TLS with a guest's certificate before a port, as HAProxy has it on a guest; its port."""
    leaf = run.authority.leaf(name, [name], ["127.0.0.1"])
    with folder() as place, socket.create_server(("127.0.0.1", 0)) as server:
        (place / "pem").write_text(leaf.cert_pem + leaf.key_pem.reveal())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "pem")

        def carry() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(plain,), daemon=True).start()

        def one(plain: socket.socket) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(plain, server_side=True) as inner,
                socket.create_connection(("127.0.0.1", port)) as outer,
            ):
                back = threading.Thread(target=pump, args=(outer, inner), daemon=True)
                back.start()
                pump(inner, outer)
                back.join(30)

        threading.Thread(target=carry, daemon=True).start()
        yield server.getsockname()[1]


def pump(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@dataclass
class Service:
    """Another service that Apprise knows: its plugin json:// posts to it.

    Args:
        refuses: it answers with 500.
    """

    refuses: bool = False
    heard: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.contextmanager
    def there(self) -> Iterator[int]:
        """It listens; its port."""
        service = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not service.refuses:
                    service.heard.append(json.loads(body))
                self.send_response(500 if service.refuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()


def asked(url: str, login: tuple[str, str] | None = None, body: bytes | None = None) -> tuple[int, str]:
    """What an HTTP server on loopback answers."""
    request = urllib.request.Request(url, data=body)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(login).encode()).decode()}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def messages(port: int, run: FakeRun, topic: str = "alerts", reader: str = "admin") -> list[dict[str, Any]]:
    """What a reader's phone finds at ntfy."""
    login = reader, run.secrets.get(f"ntfy/{reader}").reveal()
    code, text = asked(f"http://127.0.0.1:{port}/{topic}/json?poll=1", login)
    assert code == 200, text
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def a_relay(run: FakeRun, root: Path, moved: dict[str, str]) -> Iterator[int]:
    """The relay with what the role writes; its port."""
    from roles import alerts

    port = free_port()
    files = alerts.relay_files(run.here("monitoring", "alerts"))
    put(root, files, {**moved, str(alerts.RELAY): str(port)})
    ca = root / "ca.crt"
    ca.write_text(run.authority.ca_pem)
    command = [PYTHON, "-B", "-m", "alert_relay", f"{root}{alerts.SETTINGS}"]
    place = Path(f"{root}{alerts.LIBRARY}").parent
    with running(*command, log=root / "relay.log", cwd=place, env=environment(ca)):
        until(lambda: listens(port), why=(root / "relay.log").read_text)
        yield port

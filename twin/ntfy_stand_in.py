#!/usr/bin/python3
"""Stands in for ntfy where its release cannot be had: the part of its API that the home uses, over plain
HTTP.

It takes ntfy's command line (`ntfy serve -c FILE`) and, of its settings, those that Hearth writes: users with
bcrypt hashes, rights by topic, the cache. What it knows of publishing and subscribing: docs.ntfy.sh/publish
("Publish as JSON", headers) and docs.ntfy.sh/subscribe/api ("poll", "since"). Debian's Python alone is
enough.
"""

from __future__ import annotations

import base64
import binascii
import crypt
import json
import re
import secrets
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}
MAY = {"read-write": "rw", "read-only": "r", "write-only": "w", "deny": "", "deny-all": ""}
KEEPALIVE = 45  # seconds


def seconds(text: str) -> float:
    """A duration as ntfy writes it: "30s", "12h"."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * UNITS[found[2]]


def settings(text: str) -> dict[str, Any]:
    """The flat YAML that Hearth writes: values, and lists of values."""
    found: dict[str, Any] = {}
    key = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.lstrip().startswith("- "):
            found.setdefault(key, [])
            found[key].append(line.lstrip()[2:].strip("'\""))
            continue
        key, _, value = line.partition(":")
        if value.strip():
            found[key] = value.strip().strip("'\"")
        else:
            found[key] = []
    return found


@dataclass
class Server:
    """Users, rights and messages.

    Args:
        users: name -> hash.
        rights: (name, topic) -> "r", "w", "rw" or "".
        default: what everybody else may do.
        keep: seconds for which messages are kept.
        cache: the file of the messages.
    """

    users: dict[str, str]
    rights: dict[tuple[str, str], str]
    default: str
    keep: float
    cache: str
    lock: threading.Condition = field(default_factory=threading.Condition)
    known: dict[tuple[str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = sqlite3.connect(self.cache, check_same_thread=False)
        with self.lock, self.database:
            self.database.execute(
                "create table if not exists messages (at real, topic text, id text primary key, message text)"
            )

    def who(self, header: str | None) -> str | None:
        """The user of an Authorization header; "" for nobody; None for a wrong login."""
        if not header:
            return ""
        try:
            text = base64.b64decode(header.removeprefix("Basic "), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, _, password = text.partition(":")
        if name not in self.users:
            return None
        if (name, password) not in self.known:  # bcrypt is slow on purpose
            self.known[name, password] = secrets.compare_digest(
                crypt.crypt(password, self.users[name]), self.users[name]
            )
        return name if self.known[name, password] else None

    def may(self, name: str, topic: str, what: str) -> bool:
        """Whether a user may read ("r") or write ("w") a topic."""
        return what in self.rights.get((name, topic), self.default)

    def add(self, topic: str, message: dict[str, Any]) -> dict[str, Any]:
        """Keep a message and wake whoever listens."""
        now = time.time()
        whole = {
            "id": secrets.token_urlsafe(9),
            "time": int(now),
            "expires": int(now + self.keep),
            "event": "message",
            "topic": topic,
            **message,
        }
        with self.lock, self.database:
            self.database.execute("delete from messages where at < ?", (now - self.keep,))
            self.database.execute(
                "insert into messages values (?, ?, ?, ?)", (now, topic, whole["id"], json.dumps(whole))
            )
            self.lock.notify_all()
        return whole

    def after(self, topic: str, moment: float) -> list[tuple[float, str]]:
        """The messages of a topic since a moment, oldest first, each with its own."""
        with self.lock:
            rows = self.database.execute(
                "select at, message from messages where topic = ? and at > ? order by at", (topic, moment)
            )
            return rows.fetchall()


class Answer(BaseHTTPRequestHandler):
    """What answers; `home` is whose users, rights and messages they are."""

    home: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.path == "/v1/health":
            self.say(200, {"healthy": True})
        elif found := re.fullmatch(r"/([-_A-Za-z0-9]{1,64})/json", place.path):
            if self.allowed(found[1], "r"):
                self.tell(found[1], {key: value[0] for key, value in parse_qs(place.query).items()})
        else:
            self.say(404, {"code": 40401, "http": 404, "error": "page not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        topic = urlsplit(self.path).path.strip("/")
        given: dict[str, Any]
        try:
            # A JSON body wins over headers, which count beside it (ntfy's server.go, transformBodyJSON).
            given = self.from_headers() | ({"message": body.decode()} if topic else json.loads(body))
            topic = topic or str(given.pop("topic"))
        except (ValueError, KeyError, AttributeError):
            self.say(400, {"code": 40024, "http": 400, "error": "invalid request"})
            return
        if self.allowed(topic, "w"):
            self.say(200, self.home.add(topic, given))

    do_PUT = do_POST  # noqa: N815

    def from_headers(self) -> dict[str, Any]:
        names = ("title", "click", "priority", "tags")
        given = {name: self.headers.get(f"X-{name}") or self.headers.get(name) for name in names}
        found: dict[str, Any] = {name: value for name, value in given.items() if value}
        if "priority" in found:
            found["priority"] = PRIORITIES.get(found["priority"]) or int(found["priority"])
        if "tags" in found:
            found["tags"] = found["tags"].split(",")
        return found

    def allowed(self, topic: str, what: str) -> bool:
        name = self.home.who(self.headers.get("Authorization"))
        if name is None:
            self.say(401, {"code": 40101, "http": 401, "error": "unauthorized"})
        elif not self.home.may(name, topic, what):
            self.say(403, {"code": 40301, "http": 403, "error": "forbidden"})
        else:
            return True
        return False

    def tell(self, topic: str, query: dict[str, str]) -> None:
        polled = query.get("poll") in ("1", "true")
        since = query.get("since", "all" if polled else "none")
        now = time.time()
        moment = {"all": 0.0, "none": now}.get(since)
        if moment is None:
            moment = float(since) if since.isdigit() else now - seconds(since)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while True:
            for at, message in self.home.after(topic, moment):
                moment = at
                self.wfile.write(message.encode() + b"\n")
            self.wfile.flush()
            if polled:
                return
            with self.home.lock:
                self.home.lock.wait(KEEPALIVE)

    def say(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """ntfy writes no line a request either."""


def serve(path: str) -> None:
    """Serve with these settings until the process ends.

    Raises:
        KeyError, ValueError: they are no good.
    """
    found = settings(Path(path).read_text(encoding="utf-8"))
    users = dict(entry.split(":")[:2] for entry in found.get("auth-users", []))
    rights = {}
    for entry in found.get("auth-access", []):
        name, topic, right = entry.split(":")
        if name not in users:
            raise ValueError(f"access for {name}, who is no user")
        rights[name, topic] = MAY[right]
    for name, hashed in users.items():
        if not re.match(r"\$2[aby]\$\d\d\$.{53}$", hashed):
            raise ValueError(f"the hash of {name} is none")
    default = MAY[found.get("auth-default-access", "read-write")]
    server = Server(users, rights, default, seconds(found.get("cache-duration", "12h")), found["cache-file"])
    host, _, port = found["listen-http"].rpartition(":")
    answer = type("OfThisHome", (Answer,), {"home": server})
    ThreadingHTTPServer((host, int(port)), answer).serve_forever()


def main(words: list[str]) -> None:
    """`ntfy serve -c FILE`, `ntfy --help`."""
    if words[:2] == ["serve", "-c"] and len(words) == 3:  # noqa: PLR2004
        try:
            serve(words[2])
        except (KeyError, ValueError, OSError) as error:
            sys.exit(f"ntfy: {words[2]}: {error}")
    print("a stand-in for ntfy: serve -c FILE")


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/python3
"""Stand-in for Vaultwarden, in an image of the twin's own registry: it keeps no passwords.

It stands where Vaultwarden stands in its image, reads the same settings and refuses the same mistakes in the
same words (src/config.rs), has the parts of its interface that a deploy touches (src/api/admin.rs,
src/api/core/mod.rs, src/api/identity.rs), and keeps users and invitations in SQLite as Vaultwarden does.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import sqlite3
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import argon2

VERSION = os.environ.get("STAND_IN_VERSION", "0")
FAULT = os.environ.get("STAND_IN_FAULT", "")  # "start": it does not start; "live": it does, where it is tried
DATA = Path(os.environ.get("DATA_FOLDER", "/data"))
DOMAIN = os.environ.get("DOMAIN", "http://localhost")
TOKEN = os.environ.get("ADMIN_TOKEN", "")
OPEN = os.environ.get("SIGNUPS_ALLOWED", "true") == "true"
TRIED = os.environ.get("JOB_POLL_INTERVAL_MS") == "0"
REGISTER = re.compile(r"/(api|identity)/accounts/register(/[a-z-]+)?")
LEVEL = re.compile(r"(off|error|warn|info|debug|trace)(,[^,=]+=(off|error|warn|info|debug|trace))*")
TABLES = """
CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version TEXT PRIMARY KEY, run_on TEXT);
CREATE TABLE IF NOT EXISTS invitations (email TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS users (uuid TEXT PRIMARY KEY, created_at TEXT, email TEXT NOT NULL UNIQUE);
"""
MOVES_USERS = 4  # the version that does
sessions: set[str] = set()
hashing = threading.Lock()  # 64 MiB each


def refused() -> str:
    """What is wrong with the settings, in Vaultwarden's words."""
    if not DOMAIN.lower().startswith(("http://", "https://")):
        return (
            "DOMAIN variable needs to contain the protocol (http, https). "
            "Use 'http[s]://bw.example.com' instead of 'bw.example.com'"
        )
    if not 1 <= int(os.environ.get("DATABASE_MAX_CONNS", "10")) <= 256:  # noqa: PLR2004
        return "`DATABASE_MAX_CONNS` contains an invalid value. Ensure it is between 1 and 256."
    level = os.environ.get("LOG_LEVEL", "info").lower()
    if not LEVEL.fullmatch(level):
        return f"LOG_LEVEL should follow the format info,vaultwarden::api::icons=debug, invalid: {level}"
    try:
        argon2.extract_parameters(TOKEN)
    except argon2.exceptions.InvalidHash as error:
        return f"The configured Argon2 PHC in `ADMIN_TOKEN` is invalid: '{error}'"
    return "the database of this version cannot be opened" if FAULT == "start" else ""


def database() -> sqlite3.Connection:
    """A connection of its own, as each request has one."""
    found = sqlite3.connect(DATA / "db.sqlite3", timeout=30)
    found.execute("PRAGMA journal_mode=WAL")
    return found


def migrate() -> None:
    """What a newer version does to the database of an older one: from 4 on that one finds no users in it."""
    with database() as db:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if int(VERSION) >= MOVES_USERS and "users" in there and "accounts" not in there:
            db.execute("ALTER TABLE users RENAME TO accounts")
        db.executescript(TABLES)
        db.execute("INSERT OR IGNORE INTO __diesel_schema_migrations (version) VALUES (?)", [VERSION])


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Alive, config, admin page and users."""
        if self.path == "/alive":
            self.alive()
        elif self.path == "/api/config":
            environment = {"vault": DOMAIN, "api": f"{DOMAIN}/api", "identity": f"{DOMAIN}/identity"}
            server = {"name": "Vaultwarden's stand-in", "version": VERSION}
            settings = {"disableUserRegistration": not OPEN}
            self.json(200, {"server": server, "settings": settings, "environment": environment})
        elif self.path == "/admin":
            self.page(200, "settings" if self.known() else "login")
        elif self.path == "/admin/users" and self.known():
            with database() as db:
                rows = db.execute("SELECT uuid, email FROM users ORDER BY created_at").fetchall()
            self.json(200, [{"id": uuid, "email": email} for uuid, email in rows])
        else:
            self.json(401 if self.path.startswith("/admin") else 404, {"message": "Not Found"})

    def do_POST(self) -> None:
        """Registration, login at the admin page, invitation."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        if REGISTER.fullmatch(self.path):
            self.register(body)
        elif self.path == "/admin":
            self.login(parse_qs(body).get("token", [""])[0])
        elif self.path == "/admin/invite" and self.known():
            self.invite(json.loads(body)["email"])
        else:
            self.json(401 if self.path.startswith("/admin") else 404, {"message": "Not Found"})

    def alive(self) -> None:
        """Whether the database answers."""
        with database() as db:
            db.execute("SELECT 1")
        if FAULT == "live" and not TRIED:
            self.json(500, {"message": "this version is broken"})
        else:
            self.json(200, datetime.now(UTC).isoformat())

    def register(self, body: str) -> None:
        """An account for whoever may have one."""
        email = json.loads(body or "{}").get("email", "").lower()
        with database() as db:
            if not (OPEN or db.execute("DELETE FROM invitations WHERE email = ?", [email]).rowcount):
                self.json(400, {"message": "Registration not allowed or user already exists"})
                return
            db.execute(
                "INSERT OR IGNORE INTO users VALUES (?, ?, ?)",
                [str(uuid4()), datetime.now(UTC).isoformat(), email],
            )
        self.json(200, {"object": "register"})

    def login(self, token: str) -> None:
        """A session for who knows the token."""
        try:
            with hashing:
                argon2.PasswordHasher().verify(TOKEN, token.strip())
        except argon2.exceptions.VerifyMismatchError:
            self.page(401, "Error: Invalid admin token, please try again.")
            return
        session = secrets.token_urlsafe()
        sessions.add(session)
        self.page(200, "settings", f"VW_ADMIN={session}; Path=/admin; HttpOnly; SameSite=Strict")

    def invite(self, email: str) -> None:
        """An account to be, as src/api/admin.rs invites without mail."""
        with database() as db:
            db.execute("INSERT OR IGNORE INTO invitations VALUES (?)", [email])
            row = [str(uuid4()), datetime.now(UTC).isoformat(), email]
            if not db.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?)", row).rowcount:
                self.json(409, {"message": "User already exists"})
                return
        self.json(200, {"id": row[0], "email": email})

    def known(self) -> bool:
        """Whether the admin is asking."""
        return any(f"VW_ADMIN={session}" in self.headers.get("Cookie", "") for session in sessions)

    def json(self, status: int, content: Any) -> None:
        """Answer with JSON."""
        self.answer(status, "application/json", json.dumps(content))

    def page(self, status: int, text: str, cookie: str = "") -> None:
        """Answer with a page."""
        self.answer(
            status, "text/html", f"<!DOCTYPE html><title>Vaultwarden's stand-in</title>{text}", cookie
        )

    def answer(self, status: int, kind: str, text: str, cookie: str = "") -> None:
        """Answer."""
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        with contextlib.suppress(ConnectionError):  # HAProxy's check leaves as soon as it has the status
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: paths may hold tokens."""


def main() -> None:
    """Check the settings, open the database, serve."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"| Starting Vaultwarden's stand-in, version {VERSION} |", flush=True)
    if wrong := refused():
        sys.exit(f"Error loading config:\n  {wrong}")
    migrate()
    key = DATA / "rsa_key.pem"
    if not key.exists():
        key.write_text("no key: this is a stand-in\n")
    address = (os.environ.get("ROCKET_ADDRESS", "0.0.0.0"), int(os.environ.get("ROCKET_PORT", "80")))
    ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    main()

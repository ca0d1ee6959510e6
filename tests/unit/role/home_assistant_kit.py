"""A stand-in for Home Assistant's API: only what we ask of it, and as 2026.11 was seen to answer.

The real one is asked in tests/twin/test_home_home_assistant.py; here it could not be started safely.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from hearth.home_assistant.client import Place
from hearth.home_assistant.home import Home
from hearth.home_assistant.onboarding import STEPS
from hearth.secrets import Secret


class Killed(BaseException):
    """The run ends here, as by kill -9."""


@dataclass
class Memory:
    """A store of secrets; what was not saved is lost with `crash`."""

    saved: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str | None] = field(default_factory=dict)

    def find(self, name: str, /) -> Secret | None:
        value = self.waiting.get(name, self.saved.get(name))
        return Secret(value) if value is not None else None

    def put(self, name: str, value: str, /) -> Secret:
        self.waiting[name] = value
        return Secret(value)

    def remove(self, name: str, /) -> None:
        self.waiting[name] = None

    def save(self) -> bool:
        for name, value in self.waiting.items():
            if value is None:
                self.saved.pop(name, None)
            else:
                self.saved[name] = value
        self.waiting.clear()
        return True

    def crash(self) -> None:
        """What was not on disk is gone."""
        self.waiting.clear()


@dataclass
class StandIn:
    """What it holds, and what it was asked."""

    users: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> row; `access` has its text
    entries: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(
        default_factory=lambda: {
            "state": "RUNNING",
            "recovery_mode": False,
            "components": ["mqtt", "recorder"],
            "unit_system": {"length": "km"},
            "location_name": "Home",
            "time_zone": "UTC",
        }
    )
    preferences: dict[str, bool] = field(default_factory=dict)
    backup: dict[str, Any] = field(default_factory=dict)
    restarted: bool = False  # since onboarding: its API is gone
    asked: list[str] = field(default_factory=list)
    wrong: int = 0  # tokens and passwords that did not hold
    mqtt_password: str = "right"
    reauth: list[str] = field(default_factory=list)
    unready: int = 0  # questions until analytics is set up
    accounts: list[dict[str, Any]] = field(default_factory=list)  # of everybody but the owner
    persons: list[dict[str, Any]] = field(default_factory=list)
    registry: list[dict[str, Any]] = field(default_factory=list)  # entities
    _number: int = 0

    def token(self, name: str | None, kind: str, user: str = "") -> str:
        """A new token's text."""
        self._number += 1
        ident = f"id{self._number}"
        payload = base64.urlsafe_b64encode(json.dumps({"iss": ident}).encode()).decode().rstrip("=")
        text = f"h.{payload}.{ident}"
        row = {"id": ident, "client_name": name, "type": kind, "access": text, "user": user}
        self.tokens[ident] = row
        return text

    def knows(self, text: str) -> bool:
        """Whether a token holds."""
        good = any(row["access"] == text for row in self.tokens.values())
        self.wrong += not good
        return good

    @property
    def writes(self) -> list[str]:
        """What was asked and is no mere question."""
        reading = (
            "GET",
            "get_config",
            "auth/refresh_tokens",
            "auth/current_user",
            "analytics",
            "http/config",
        )
        more = ("config_entries/get", "config_entries/flow/progress", "backup/config/info")
        also = ("config/auth/list", "person/list", "config/entity_registry/list")
        return [line for line in self.asked if line.split(" ")[0] not in (*reading, *more, *also)]

    def account(self, ident: str) -> dict[str, Any]:
        """Somebody's account; KeyError where there is none."""
        try:
            return next(row for row in self.accounts if row["id"] == ident)
        except StopIteration:
            raise KeyError("User not found") from None


class Api:
    """Its REST API."""

    def __init__(self, it: StandIn) -> None:
        self.it = it
        self.flow: dict[str, Any] = {}
        self.who = ""

    async def onboarding(self, _: web.Request) -> web.Response:
        if self.it.restarted and len(self.it.done) == len(STEPS):
            raise web.HTTPNotFound
        return web.json_response([{"step": step, "done": step in self.it.done} for step in STEPS])

    async def users(self, request: web.Request) -> web.Response:
        given = await request.json()
        if "user" in self.it.done:
            raise web.HTTPForbidden
        self.it.users[given["username"]] = given["password"]
        self.it.done.append("user")
        return web.json_response({"auth_code": "code"})

    async def step(self, request: web.Request) -> web.Response:
        name = request.match_info["step"]
        if name in self.it.done:
            raise web.HTTPForbidden
        self.it.done.append(name)
        if name == "core_config":
            self.it.entries += [entry(domain) for domain in ("google_translate", "met", "radio_browser")]
        return web.json_response({})

    async def login(self, request: web.Request) -> web.Response:
        given = await request.json()
        if "flow" not in request.match_info:
            return web.json_response({"type": "form", "flow_id": "f", "errors": {}})
        if self.it.users.get(given["username"]) != given["password"]:
            self.it.wrong += 1
            return web.json_response({"type": "form", "errors": {"base": "invalid_auth"}})
        self.who = given["username"]
        return web.json_response({"type": "create_entry", "result": "code"})

    async def token(self, _: web.Request) -> web.Response:
        text = self.it.token(None, "normal", self.who)
        return web.json_response({"access_token": text, "refresh_token": text})

    async def revoke(self, request: web.Request) -> web.Response:
        text = (await request.post())["token"]
        self.it.tokens = {key: row for key, row in self.it.tokens.items() if row["access"] != text}
        return web.Response()

    async def start(self, request: web.Request) -> web.Response:
        self.flow = await request.json()
        if self.flow["handler"] == "unknown":
            return web.json_response({"message": "Invalid handler specified"}, status=404)
        return web.json_response({"type": "form", "flow_id": "flow", "step_id": "user", "errors": {}})

    async def answer(self, request: web.Request) -> web.Response:
        given = await request.json()
        if self.flow["handler"] == "mqtt" and given["password"] != self.it.mqtt_password:
            form = {"type": "form", "flow_id": "flow", "step_id": "broker"}
            return web.json_response({**form, "errors": {"base": "cannot_connect"}})
        if "entry_id" in self.flow:
            self.it.reauth.clear()
            return web.json_response({"type": "abort", "reason": "reconfigure_successful"})
        self.it.entries.append(entry(self.flow["handler"]))
        return web.json_response({"type": "create_entry", "result": self.it.entries[-1]})

    async def options(self, request: web.Request) -> web.Response:
        kind = "create_entry" if "flow" in request.match_info else "form"
        return web.json_response({"type": kind, "flow_id": "o"})

    async def delete(self, request: web.Request) -> web.Response:
        gone = request.match_info["id"]
        self.it.entries = [row for row in self.it.entries if row["entry_id"] != gone]
        return web.json_response({})

    async def nothing(self, _: web.Request) -> web.Response:
        return web.json_response({"file_id": "f"})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        return await _socket(self.it, request)


def app_of(it: StandIn) -> web.Application:
    """Its web application."""
    app, api, entries = web.Application(middlewares=[_middleware(it)]), Api(it), "/api/config/config_entries"
    app.add_routes(
        [
            web.get("/api/onboarding", api.onboarding),
            web.get("/auth/providers", api.nothing),
            web.post("/api/onboarding/users", api.users),
            web.post("/api/onboarding/{step}", api.step),
            web.post("/auth/login_flow", api.login),
            web.post("/auth/login_flow/{flow}", api.login),
            web.post("/auth/token", api.token),
            web.post("/auth/revoke", api.revoke),
            web.get("/api/", api.nothing),
            web.post("/api/file_upload", api.nothing),
            web.post("/api/services/logger/{what}", api.nothing),
            web.post(f"{entries}/flow", api.start),
            web.post(f"{entries}/flow/{{flow}}", api.answer),
            web.delete(f"{entries}/flow/{{flow}}", api.nothing),
            web.post(f"{entries}/options/flow", api.options),
            web.post(f"{entries}/options/flow/{{flow}}", api.options),
            web.delete(f"{entries}/entry/{{id}}", api.delete),
            web.get("/api/websocket", api.socket),
        ]
    )
    return app


def entry(domain: str, state: str = "loaded") -> dict[str, Any]:
    """A config entry."""
    return {"entry_id": f"e-{domain}", "domain": domain, "state": state, "disabled_by": None, "reason": None}


OPEN = ("/auth/", "/api/onboarding", "/api/websocket")


def _middleware(it: StandIn) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        it.asked.append(f"{request.method} {request.path}")
        own = request.path.removeprefix("/api/onboarding/") in ("core_config", "analytics", "integration")
        if own or not request.path.startswith(OPEN):
            text = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not it.knows(text):
                raise web.HTTPUnauthorized
        found: web.StreamResponse = await handler(request)
        return found

    return middleware


async def _socket(it: StandIn, request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"type": "auth_required"})
    shown = (await socket.receive_json())["access_token"]
    if not it.knows(shown):
        await socket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
        await socket.close()
        return socket
    await socket.send_json({"type": "auth_ok"})
    user = next(row["user"] for row in it.tokens.values() if row["access"] == shown)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            given = json.loads(message.data)
            it.asked.append(f"{given['type']} {given.get('client_name', '')}")
            if given["type"] == "analytics" and it.unready:
                it.unready -= 1
                fault = {"code": "not_found", "message": "Not loaded"}
                await socket.send_json(
                    {"id": given["id"], "type": "result", "success": False, "error": fault}
                )
                continue
            try:
                result = _command(it, given, user)
            except KeyError as error:
                fault = {"code": "unknown_error", "message": str(error)}
                await socket.send_json(
                    {"id": given["id"], "type": "result", "success": False, "error": fault}
                )
                continue
            await socket.send_json({"id": given["id"], "type": "result", "success": True, "result": result})
    return socket


def _command(it: StandIn, given: dict[str, Any], user: str) -> Any:
    content = {key: value for key, value in given.items() if key not in ("id", "type")}

    def long_lived() -> str:
        if any(row["client_name"] == given["client_name"] for row in it.tokens.values()):
            raise KeyError("the name is taken")
        return it.token(given["client_name"], "long_lived_access_token")

    listed = [{key: row[key] for key in ("id", "client_name", "type")} for row in it.tokens.values()]
    asking = [{"context": {"source": "reauth", "entry_id": ident}} for ident in it.reauth]
    passwords = "config/auth_provider/homeassistant/admin_change_password"
    commands: dict[str, Callable[[], Any]] = {
        "auth/refresh_tokens": lambda: listed,
        "auth/delete_refresh_token": lambda: it.tokens.pop(given["refresh_token_id"])["id"],
        "auth/long_lived_access_token": long_lived,
        "auth/current_user": lambda: {"id": "owner"},
        passwords: lambda: _set_password(it, given),
        **_of_accounts(it, given, user),
        "config_entries/get": lambda: it.entries,
        "config_entries/flow/progress": lambda: asking,
        "get_config": lambda: it.config,
        "config/core/update": lambda: it.config.update(content),
        "analytics": lambda: {"preferences": it.preferences},
        "analytics/preferences": lambda: it.preferences.update(given["preferences"]),
        "backup/config/info": lambda: {"config": it.backup},
        "backup/config/update": lambda: it.backup.update(content),
    }
    return commands[given["type"]]()


def _set_password(it: StandIn, given: dict[str, Any]) -> None:
    if given["user_id"] == "owner":
        it.users["home"] = given["password"]
    else:
        it.users[it.account(given["user_id"])["username"]] = given["password"]


def _of_accounts(it: StandIn, given: dict[str, Any], user: str) -> dict[str, Callable[[], Any]]:
    """Commands about users and persons."""

    def create() -> Any:
        it._number += 1
        rights = {"is_active": True, "is_owner": False, "group_ids": given["group_ids"]}
        row = {"id": f"user{it._number}", "username": None, "name": given["name"], **rights}
        it.accounts.append(row)
        return {"user": row}

    def login() -> None:
        if given["username"] in it.users:
            raise KeyError("username_exists")
        it.account(given["user_id"])["username"] = given["username"]
        it.users[given["username"]] = given["password"]

    def delete() -> None:
        gone = it.account(given["user_id"])
        it.accounts.remove(gone)
        it.users.pop(gone["username"], None)
        it.tokens = {key: row for key, row in it.tokens.items() if row["user"] != gone["username"]}

    def delete_tokens() -> None:
        it.tokens = {key: row for key, row in it.tokens.items() if row["user"] != user}

    def person() -> Any:
        it._number += 1
        keys = ("name", "user_id", "device_trackers")
        row = {"id": f"person{it._number}", **{key: given[key] for key in keys}}
        it.persons.append(row)
        return row

    owner = {"id": "owner", "username": "home", "name": "Home", "is_active": True, "is_owner": True}
    return {
        "config/auth/list": lambda: [owner, *it.accounts],
        "config/auth/create": create,
        "config/auth/delete": delete,
        "config/auth_provider/homeassistant/create": login,
        "auth/delete_all_refresh_tokens": delete_tokens,
        "person/list": lambda: {"storage": it.persons, "config": []},
        "person/create": person,
        "person/delete": lambda: it.persons.remove(
            next(row for row in it.persons if row["id"] == given["person_id"])
        ),
        "config/entity_registry/list": lambda: it.registry,
    }


@contextmanager
def serving(it: StandIn, store: Memory) -> Iterator[Home]:
    """The stand-in on a port of loopback, and the home that talks to it."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app_of(it))

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    home = Home(Place("home-assistant", f"http://127.0.0.1:{port}"), store)
    try:
        yield home
    finally:
        home.close()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

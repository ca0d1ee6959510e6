"""A stand-in of Home Assistant's mobile app API, as far as the phone uses it (the real one: flow tests)."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from nacl.encoding import Base64Encoder, HexEncoder
from nacl.secret import SecretBox

TOKEN, SECRET = "token-of-anna", "ab" * 32


class HassStandIn:
    """Serves HTTPS on loopback from a thread; remembers what it was sent."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self.raw: list[dict[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.services: list[tuple[str, dict[str, Any]]] = []
        self.confirmed: list[str] = []
        self.channels: dict[str, tuple[web.WebSocketResponse, int]] = {}
        self.registrations: list[dict[str, Any]] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._await(self._start())

    def push(self, message: str, confirm: str) -> None:
        """Send a notification to the webhook that holds the channel."""
        socket, number = self.channels[self.webhook_id]
        event = {"message": message, "hass_confirm_id": confirm}
        self._await(socket.send_json({"id": number, "type": "event", "event": event}))

    def drop(self) -> None:
        """Close every channel, as a restart does."""
        for socket, _ in list(self.channels.values()):
            self._await(socket.close())

    def close(self) -> None:
        """Stop."""
        self._await(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def webhook_id(self) -> str:
        """The newest registration's."""
        return f"hook-{len(self.registrations)}"

    def _await(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/api/mobile_app/registrations", self._register)
        app.router.add_post("/api/webhook/{id}", self._webhook)
        app.router.add_post("/api/services/{domain}/{service}", self._service)
        app.router.add_get("/api/websocket", self._websocket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized

    async def _register(self, request: web.Request) -> web.Response:
        self._check(request)
        self.registrations.append(await request.json())
        secret = SECRET if self.registrations[-1]["supports_encryption"] else None
        return web.json_response({"webhook_id": self.webhook_id, "secret": secret}, status=201)

    async def _webhook(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.webhook_id:
            return web.json_response({})
        body = await request.json()
        self.raw.append(body)
        sealed = "encrypted" in body
        box = SecretBox(SECRET.encode(), encoder=HexEncoder)
        data = body.get("data")
        if sealed:
            data = json.loads(box.decrypt(body["encrypted_data"], encoder=Base64Encoder))
        self.opened.append({"type": body["type"], "data": data})
        answer = self._answer(body["type"], data)
        if sealed:
            hidden = box.encrypt(json.dumps(answer).encode(), encoder=Base64Encoder).decode()
            answer = {"encrypted": True, "encrypted_data": hidden}
        return web.json_response(answer)

    def _answer(self, kind: str, data: Any) -> Any:
        known = {o["data"]["unique_id"] for o in self.opened if o["type"] == "register_sensor"}
        if kind == "register_sensor":
            return {"success": True} if data.get("state") is not None else {}
        if kind == "update_sensor_states":
            return {u["unique_id"]: {"success": u["unique_id"] in known} for u in data}
        return {}

    async def _service(self, request: web.Request) -> web.Response:
        self._check(request)
        name = f"{request.match_info['domain']}.{request.match_info['service']}"
        self.services.append((name, await request.json()))
        return web.json_response([])

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "auth_required"})
        if (await socket.receive_json())["access_token"] != TOKEN:
            await socket.send_json({"type": "auth_invalid", "message": "Invalid access token"})
            await socket.close()
            return socket
        await socket.send_json({"type": "auth_ok"})
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self._command(socket, json.loads(message.data))
        return socket

    async def _command(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": asked["id"], "type": "result", "success": True, "result": None}
        if asked["type"] == "mobile_app/push_notification_channel":
            self.channels[asked["webhook_id"]] = (socket, asked["id"])
        elif asked["type"] == "mobile_app/push_notification_confirm":
            self.confirmed.append(asked["confirm_id"])
        else:
            answer |= {"success": False, "error": {"message": "Unknown command."}}
        await socket.send_json(answer)

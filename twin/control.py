"""The twin's own requests to its API process: faults, the clock, health. A root-only Unix socket."""

from __future__ import annotations

import json
from typing import Any

import httpx
from aiohttp import web

from hearth.errors import HearthError
from twin.pve import faults
from twin.real.disaster import strike
from twin.state import Twin


def control_app(pve: Any) -> web.Application:
    """The routes of the control socket.

    Args:
        pve: the running fake.
    """

    async def health(_request: web.Request) -> web.Response:
        guests = [
            {"vmid": g.vmid, "kind": g.guest.split("/")[0], "name": g.name, "status": g.status}
            for g in pve.everyone()
        ]
        return web.json_response({"guests": guests, "wall": pve.wall.state()})

    async def list_faults(_request: web.Request) -> web.Response:
        active = [{"name": fault.name, "params": fault.params} for fault in pve.faults]
        return web.json_response({"active": active})

    async def apply_fault(request: web.Request) -> web.Response:
        asked = await request.json()
        try:
            faults.apply(pve, asked["name"], **asked["params"])
        except HearthError as error:
            return web.Response(status=web.HTTPBadRequest.status_code, text=str(error))
        return web.json_response({})

    async def clear_faults(request: web.Request) -> web.Response:
        return web.json_response({"cleared": faults.clear(pve, request.query.get("name"))})

    async def move_clock(request: web.Request) -> web.Response:
        pve.clock_ahead += float((await request.json())["forward"])
        pve.keep()
        return web.json_response({"ahead": pve.clock_ahead})

    async def disaster(request: web.Request) -> web.Response:
        lost = await strike(pve, bool((await request.json())["backups"]))
        pve.keep()
        return web.json_response({"lost": lost})

    app = web.Application()
    app.router.add_post("/disaster", disaster)
    app.router.add_post("/clock", move_clock)
    app.router.add_get("/health", health)
    app.router.add_get("/faults", list_faults)
    app.router.add_post("/faults", apply_fault)
    app.router.add_delete("/faults", clear_faults)
    return app


def ask(twin: Twin, method: str, path: str, body: dict[str, Any] | None = None, patience: float = 30) -> Any:
    """Send a request to the control socket.

    Args:
        patience: seconds until it must have answered.

    Raises:
        HearthError: the API process does not answer, or refuses.
    """
    return _send(str(twin.control), method, path, json.dumps(body) if body is not None else None, patience)


def ask_api(twin: Twin, method: str, path: str, form: dict[str, str] | None = None) -> Any:
    """Send a request to the API as root@pam; returns its `data`.

    Args:
        path: without /api2/json.
        form: parameters.

    Raises:
        HearthError: the API refuses it, in its words.
    """
    url = f"http://twin/api2/json{path}"
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(twin.socket)), timeout=120) as client:
            answer = client.request(method, url, data=form) if form else client.request(method, url)
    except httpx.HTTPError as error:
        raise HearthError(
            f"ask the twin's API {path}", str(error) or type(error).__name__, "`twin up`"
        ) from error
    if answer.is_error:
        errors = (
            answer.json().get("errors")
            if answer.headers.get("content-type", "").startswith("application/json")
            else None
        )
        raise HearthError(f"{method} {path}", f"{answer.reason_phrase} {errors or ''}")
    return answer.json()["data"]


def _send(socket: str, method: str, path: str, content: str | None, patience: float) -> Any:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=patience) as client:
            answer = client.request(method, f"http://twin{path}", content=content)
    except httpx.HTTPError as error:
        raise HearthError(
            "ask the twin's API process", str(error) or type(error).__name__, "`twin up`"
        ) from error
    if answer.is_error:
        raise HearthError("change the twin", answer.text)
    return answer.json()

"""Correction: request parameters as Proxmox reads them.

A blank form value is a value: it clears or sets (recordings 355, 357, 1098, 1099; fakepve drops it).
A form's booleans are 1 and 0 only; true and false are for JSON (recordings 849-854).
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

from fakepve import FakePve, PveError, server
from fakepve.server import USER, bad_request, collect, ok

#: Takes a method's checked parameters and the user's id; returns the `data` of the answer.
Handler = Callable[[dict[str, Any], str], Awaitable[Any]]


async def params(request: Any) -> dict[str, Any]:
    """The parameters of a request: query string, then form or JSON body.

    Raises PveError where the body is not what its content type says.
    """
    found: dict[str, Any] = collect(urllib.parse.parse_qsl(request.query_string, keep_blank_values=True))
    body = await request.read()
    if not body or request.content_type == "multipart/form-data":
        return found
    if request.content_type == "application/json":
        found.update(_json(body))
    else:
        found.update(_form(body))
    return found


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PveError(500, f"malformed JSON body: {error}") from None
    if not isinstance(data, dict):
        raise bad_request(body="request body is not a JSON object")
    # Recording 851: a list is as good as the same words with commas.
    return {key: _json_value(key, value) for key, value in data.items() if value is not None}


def _json_value(key: str, value: Any) -> Any:
    if key in ("delete", "revert") and isinstance(value, list):
        return ",".join(str(item) for item in value)
    return value


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
    except (UnicodeDecodeError, ValueError):
        raise bad_request(body="malformed request body") from None
    # fakepve keeps every repetition of a name; Proxmox joins them where it wants one value.
    found: dict[str, Any] = collect(pairs)
    return found


# fakepve reads parameters in a module function that every route calls; there is no method to override.
server.params = params


class Forms(FakePve):
    """Checks parameters before the schema does where Proxmox is stricter or more lenient."""

    async def answer(
        self, request: Any, match: Any, values: dict[str, Any], user: str | None, call: Any = None
    ) -> Any:
        """Answer a schema method; raises PveError as Proxmox would."""
        info = match.methods.get(request.method) if match is not None else None
        if info is None:
            raise not_implemented(request)
        return await super().answer(request, match, self._prepared(info, values), user, call)

    async def through_schema(self, request: Any, function: Handler) -> Any:
        """Answer a hand-written route after the schema's own checks: parameters, node, permissions."""
        user = request[USER]

        async def call(_match: Any, values: dict[str, Any]) -> Any:
            return await function(values, user)

        match = self.resolve(request, server.API)
        return ok(await self.answer(request, match, await params(request), user, call))

    def _verify(self, request: Any, values: dict[str, Any], drop: tuple[str, ...] = ()) -> Any:
        match = self.resolve(request, server.API)
        info = match.methods.get(request.method) if match is not None else None
        if info is None:
            raise not_implemented(request)
        return super()._verify(request, self._prepared(info, values), drop)

    @staticmethod
    def _prepared(info: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        declared = (info.get("parameters") or {}).get("properties", {})
        wrong: dict[str, str] = {}
        joined = dict(values)
        for name, value in values.items():
            kind = _declaration(declared, name).get("type")
            if kind == "boolean" and isinstance(value, str) and value not in ("0", "1"):
                wrong[name] = f"type check ('boolean') failed - got '{value}'"
            elif kind == "string" and isinstance(value, list):
                # Recording 860: `tags=x&tags=y`.
                joined[name] = ",".join(str(item) for item in value)
        if wrong:
            raise PveError(400, "Parameter verification failed.", wrong)
        return joined


def _declaration(declared: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = declared.get(name) or declared.get(name.rstrip("0123456789") + "[n]") or {}
    return found


def not_implemented(request: Any) -> PveError:
    """Recordings 16, 17: a 501 that names method and path."""
    path = request.path.removeprefix(server.API).removeprefix(server.EXTJS)
    return PveError(501, f"Method '{request.method} {path}' not implemented")

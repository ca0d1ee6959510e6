"""The REST API."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from ai_automation.config import Scope
from ai_automation.engine import RefusedError
from ai_automation.rules import Automation
from ai_automation.run import STATES, Run, Trigger
from ai_automation.service import Service
from ai_automation.websocket import add_stream

_log = logging.getLogger(__name__)

MOST_WAIT = 60.0  # seconds of ?wait=
_MOST_RUNS = 200  # in one answer
_DRAINED = 1024 * 1024  # bytes of a body that is too large
_STATUS = {
    "unknown_automation": 404,
    "not_callable": 409,
    "disabled": 409,
    "already_running": 409,
    "queue_full": 429,
    "stopping": 503,
}


class ApiError(Exception):
    """An answer that is an error: `{"error": {"code": ..., "message": ...}}`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def make_app(service: Service) -> Flask:
    """The web application around a service that is started."""
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    waiting = threading.BoundedSemaphore(service.config.limits.waiting)

    app.before_request(lambda: _admit(service))
    app.after_request(_headers)
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _broken)

    @app.get("/health")
    def health() -> tuple[Response, int]:
        states, well = service.health()
        return jsonify(states), 200 if well else 503

    @app.get("/api/automations")
    def automations() -> Response:
        rules = service.engine.rules.values()
        return jsonify(automations=[_overview(service, rule) for rule in rules])

    @app.get("/api/automations/<automation_id>")
    def automation(automation_id: str) -> Response:
        rule = service.engine.rules.get(automation_id)
        if rule is None:
            raise ApiError(404, "unknown_automation", f"there is no automation {automation_id!r}")
        return jsonify(_overview(service, rule) | {"rule": rule.model_dump(mode="json", exclude_none=True)})

    @app.post("/api/automations/<automation_id>/trigger")
    def trigger(automation_id: str) -> tuple[Response, int]:
        wait = _wait()
        run = _call(service, automation_id, _data(service.config.limits.body_bytes))
        ended = _wait_for(run, wait, waiting) if wait else False
        return jsonify(run.to_json() if wait else {"run": run.id, "state": run.state}), 200 if ended else 202

    @app.get("/api/runs")
    def runs() -> Response:
        return jsonify(runs=_find(service))

    @app.get("/api/runs/<run_id>")
    def run(run_id: str) -> Response:
        found = service.history.get(run_id)
        if found is None:
            raise ApiError(404, "unknown_run", f"there is no run {run_id!r}")
        return jsonify(found)

    add_stream(app, service)
    return app


def _admit(service: Service) -> None:
    """Who may come in; before the body is read."""
    if request.path == "/health":
        return
    client = service.door.who(request.headers.get("Authorization"))
    if client is None:
        pause = service.door.failed(_address(service))
        if pause:
            raise ApiError(429, "too_many_failures", "too many wrong tokens", {"Retry-After": str(pause)})
        raise ApiError(401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
    g.client = client
    scope: Scope = "trigger" if request.method == "POST" else "read"
    if scope not in client.scopes:
        raise ApiError(403, "forbidden", f"{client.name} lacks the scope {scope}")
    if request.path == "/ws" and service.streams.full:
        raise ApiError(
            503, "too_many_streams", "as many streams as may be are open, or the service is stopping"
        )


def _address(service: Service) -> str:
    """Where a request comes from: by a trusted proxy's word, of which only the last entry counts."""
    peer = request.remote_addr or ""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if peer in service.config.trusted_proxies and forwarded:
        return forwarded.rpartition(",")[2].strip()
    return peer


def _overview(service: Service, rule: Automation) -> dict[str, Any]:
    last = service.history.find(rule.id, None, None, 1)
    return {
        "id": rule.id,
        "description": rule.description,
        "enabled": rule.enabled,
        "mode": rule.mode,
        "callable": rule.called(),
        **service.engine.overview(rule.id),
        "last_run": {key: last[0][key] for key in ("id", "state", "finished", "error")} if last else None,
    }


def _call(service: Service, automation_id: str, data: Any) -> Run:
    try:
        return service.engine.call(automation_id, Trigger("rest", data, by=g.client.name))
    except RefusedError as error:
        raise ApiError(_STATUS[error.code], error.code, str(error)) from None


def _body(most: int) -> bytes:
    """The request's body, of known length or in chunks.

    Werkzeug's own limit cuts a chunked body off without a word, so that it is counted here.
    """
    raw = request.stream.read(most + 1)
    if len(raw) <= most:
        return raw
    for _ in range(_DRAINED // most + 1):  # a client that still sends would not hear the answer
        if not request.stream.read(most):
            break
    raise ApiError(413, "too_large", f"the body has more than {most} bytes")


def _data(most: int) -> Any:
    """The trigger's data from the body: `{"data": ...}`, or nothing."""
    raw = _body(most)
    if not raw.strip():
        return None
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "malformed", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or body.keys() - {"data"}:
        raise ApiError(400, "malformed", 'the body is {"data": ...} and nothing else')
    return body.get("data")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _wait() -> float:
    text = request.args.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= MOST_WAIT:
        raise ApiError(400, "malformed", f"wait is seconds, 0 to {MOST_WAIT:g}")
    return seconds


def _wait_for(run: Run, seconds: float, waiting: threading.BoundedSemaphore) -> bool:
    """Whether the run has ended within the time. Where too many wait already, it is not waited for."""
    if not waiting.acquire(blocking=False):
        return run.done.is_set()
    try:
        return run.done.wait(seconds)
    finally:
        waiting.release()


def _find(service: Service) -> list[dict[str, Any]]:
    state = request.args.get("state")
    if state is not None and state not in STATES:
        raise ApiError(400, "malformed", f"state is one of {', '.join(STATES)}")
    try:
        limit = int(request.args.get("limit", "50"))
    except ValueError:
        limit = 0
    if not 1 <= limit <= _MOST_RUNS:
        raise ApiError(400, "malformed", f"limit is a whole number, 1 to {_MOST_RUNS}")
    return service.history.find(request.args.get("automation"), state, request.args.get("before"), limit)


def _headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _error(code: str, message: str) -> Response:
    return jsonify(error={"code": code, "message": message})


def _api_error(error: ApiError) -> tuple[Response, int, dict[str, str]]:
    return _error(error.code, str(error)), error.status, error.headers


def _http_error(error: HTTPException) -> tuple[Response, int]:
    code = (error.name or "error").lower().replace(" ", "_")
    return _error(code, error.description or code), error.code or 500


def _broken(error: Exception) -> tuple[Response, int]:
    _log.error("%s %s broke", request.method, request.path, exc_info=error)
    return _error("internal", "a mistake of this program; its log says more"), 500

"""Corrections at the HTTP edge, before and after any handler.

Recordings 858, 867-869 (methods that the daemon does not take), 863 (unknown format), 12-15 and 330
(an empty 401). Source: PVE/APIServer/AnyEvent.pm.
"""

from __future__ import annotations

import ssl
from typing import Any

from aiohttp import web
from fakepve.server import FORMATS

from twin.pve.login import REFUSAL_DELAY
from twin.pve.request_log import RequestLog

#: A node of the cluster that does not answer: recording 990 has no body.
_NO_ROUTE = 595
#: Seconds that requests still being answered get when the fake stops.
_LAST_CALL = 0.1
_METHODS = ("GET", "POST", "PUT", "DELETE")


class Edge(RequestLog):
    """Wraps the whole application in what Proxmox's daemon does itself."""

    async def start(self, certfile: str, keyfile: str) -> None:
        """Listen with this certificate and key, so that a stop does not wait for requests that hang."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certfile, keyfile)
        self.runner = web.AppRunner(self._build_app(), shutdown_timeout=_LAST_CALL)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.host, self.port, ssl_context=context).start()
        if not self.port:
            self.port: int = self.runner.addresses[0][1]

    def _build_app(self) -> Any:
        app = super()._build_app()
        app.middlewares.insert(0, self._edge)
        return app

    @web.middleware
    async def _edge(self, request: Any, handler: Any) -> Any:
        status = 0
        try:
            response = await self._early(request)
            if response is None:
                response = await handler(request)
            if isinstance(response, web.Response) and response.status == web.HTTPUnauthorized.status_code:
                response = await self._refused(request, response)
            elif isinstance(response, web.Response) and response.status == _NO_ROUTE:
                response = _plain(_NO_ROUTE, response.reason, "")
            status = response.status
            return response
        finally:
            # A connection that is dropped or given up is logged too, with status 0.
            self.log.add(request, status)

    async def _early(self, request: Any) -> Any:
        """What the daemon refuses before it looks at the path's own method."""
        if request.method not in _METHODS:
            return _plain(501, f"method '{request.method}' not available", "")
        if request.method == "DELETE" and request.can_read_body:
            text = "Unexpected content for method 'DELETE'"
            return _plain(501, text, text)
        if request.path.startswith("/api2/") and not request.path.startswith(FORMATS):
            kind, _, rest = request.path.removeprefix("/api2/").partition("/")
            text = f"no formatter for uri /{rest}, {kind}"
            return _plain(501, text, text)
        return None

    async def _refused(self, request: Any, response: Any) -> Any:
        await self.pause(REFUSAL_DELAY)
        if request.path.endswith("/access/ticket"):
            return response
        return _plain(401, response.reason, "")


def _plain(status: int, reason: str, text: str) -> Any:
    answer = web.Response(status=status, reason=reason, text=text)
    answer.force_close()
    return answer

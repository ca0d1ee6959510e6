"""Correction: how Proxmox takes and refuses logins.

Recordings 12-15, 330, 331 (a 401 has an empty body and one of three reasons), 324-328 (the ticket call
itself answers JSON). Source: PVE/APIServer/AnyEvent.pm (every refusal is answered 3 s late).
"""

from __future__ import annotations

import hmac
import time
from typing import Any

from fakepve import PveError
from fakepve.server import FORMATS, bad_request, params

from twin.pve.access import split_token
from twin.pve.permissions import Permissions

#: PVE seconds a refused login waits for its answer.
REFUSAL_DELAY = 3

_REFUSED = PveError(401, "Authentication failed!")
_TOKEN = "PVEAPIToken="


class Login(Permissions):
    """Tokens and tickets, with their expiry."""

    def _authenticate(self, request: Any) -> str | None:
        if request.path in tuple(prefix + "/access/ticket" for prefix in FORMATS):
            return None
        header = request.headers.get("Authorization", "")
        who = self._by_token(header) if header.startswith(_TOKEN) else self._by_ticket(request)
        if not self._may_log_in(who):
            raise _REFUSED
        return who

    def _by_token(self, header: str) -> str:
        tokenid, _, secret = header.removeprefix(_TOKEN).partition("=")
        known = self.apitokens.get(tokenid)
        if known is None or not hmac.compare_digest(known.encode(), secret.encode()):
            raise _REFUSED
        return tokenid

    def _by_ticket(self, request: Any) -> str:
        ticket = request.cookies.get("PVEAuthCookie")
        if not ticket:
            raise PveError(401, "No ticket")
        session = self.tickets.get(ticket)
        if session is None or session["expires"] < time.time():
            raise _REFUSED
        writes = request.method not in ("GET", "HEAD")
        if writes and request.headers.get("CSRFPreventionToken") != session["csrf"]:
            raise PveError(401, "Permission denied - invalid csrf token")
        return str(session["user"])

    def _may_log_in(self, who: str) -> bool:
        """Whoever is not in the access configuration was put into `apitokens` or `users` by a test."""
        user, name = split_token(who)
        if user not in self.access.users:
            return True
        if name is not None and self.access.token(who) is None:
            return self.access.active(user)
        return self.access.active(who)

    async def _ticket(self, request: Any) -> Any:
        given = await params(request)
        missing = {
            name: "property is missing and it is not optional"
            for name in ("username", "password")
            if given.get(name) is None
        }
        if missing:
            raise bad_request(**missing)
        # Recording 328: without a realm the login fails.
        if "@" not in str(given["username"]) and not given.get("realm"):
            raise PveError(401, "authentication failure")
        return await super()._ticket(request)

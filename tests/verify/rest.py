"""A service's own interface, through the guest's front."""

from __future__ import annotations

from typing import Any

import httpx
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest


class Rest:
    """JSON over HTTPS at a guest's port, with the verifier's token.

    Args:
        under_test: the fleet.
        guest: where the service is.
        port: its number there.
        secret: the name of the verifier's token.
    """

    def __init__(self, under_test: UnderTest, guest: Guest, port: int, secret: str) -> None:
        self._token = under_test.secret(secret)
        # The home is near: no proxy of this machine comes between.
        self._client = httpx.Client(
            base_url=f"https://{address_of(guest)}:{port}",
            verify=under_test.tls(),
            timeout=TIMEOUT,
            trust_env=False,
        )

    def ask(
        self, path: str, body: Any = None, token: str | None = "", method: str | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer; with the verifier's token, another one, or (None) without any."""
        headers = {} if token is None else {"Authorization": f"Bearer {token or self._token}"}
        verb = method or ("GET" if body is None else "POST")
        answer = self._client.request(verb, path, json=body, headers=headers)
        return answer.status_code, answer.json()

"""A service's own interface, through the guest's front."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

T = TypeVar("T")


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


def settled(look: Callable[[], T], wanted: T, seconds: float) -> T:
    """What is seen as soon as it is what is wanted, or when the time is over."""
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    return found

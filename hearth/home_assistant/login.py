"""Logins of the owner: sessions by password that leave nothing behind.

The flow: developers.home-assistant.io/docs/auth_api.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from hearth.errors import HearthError
from hearth.home_assistant.client import Client, RefusedError


@dataclass(frozen=True)
class Owner:
    """The person that Home Assistant belongs to.

    Args:
        name: shown.
        username: for logins: lower case, no blanks.
        password: its text.
        language: e.g. "en".
    """

    name: str
    username: str
    password: str
    language: str

    def __repr__(self) -> str:
        return f"Owner({self.username!r})"


@contextlib.contextmanager
def logged_in(client: Client, owner: Owner) -> Iterator[Client]:
    """A session of the owner's, by password; it is revoked at the end.

    Raises:
        RefusedError: the password does not hold, or a second factor is asked for.
    """
    origin = client.place.origin
    action = f"log in as {owner.username}"
    start = {"client_id": origin, "handler": ["homeassistant", None], "redirect_uri": origin}
    flow = client.call("POST", "/auth/login_flow", action, json=start)
    login = {"client_id": origin, "username": owner.username, "password": owner.password}
    answer = client.call("POST", f"/auth/login_flow/{flow['flow_id']}", action, json=login)
    if answer["type"] != "create_entry":
        why = (answer.get("errors") or {}).get("base") or f"it asks for {answer.get('step_id')}"
        raise RefusedError(
            f"{action} to Home Assistant on {client.place.name}",
            str(why),
            "hearth secrets set home-assistant/owner, with the password that holds there",
            status=401,
        )
    with with_code(client, answer["result"]) as session:
        yield session


@contextlib.contextmanager
def with_code(client: Client, code: str) -> Iterator[Client]:
    """A session for an authorization code; it is revoked at the end."""
    form = {"grant_type": "authorization_code", "code": code, "client_id": client.place.origin}
    tokens = client.call("POST", "/auth/token", "log in", data=form)
    session = client.with_token(tokens["access_token"])
    try:
        yield session
    finally:
        session.close()
        with contextlib.suppress(HearthError):
            client.call("POST", "/auth/revoke", "log out", data={"token": tokens["refresh_token"]})

"""Long-lived access tokens: one for each client, kept in the secrets, made anew where one no longer holds.

A token is a JWT whose `iss` is the id of the refresh token behind it; the latter are listed by name. A wrong
token counts as a failed login, and ten of these ban the caller's address: so a token is tried only where its
id is listed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hearth.home_assistant.client import Client
from hearth.secrets.rotation import Phase

PREFIX = "Hearth: "  # of the names of our tokens in Home Assistant
SECOND = " (2)"  # and after it: the other name, while a client's token is rotated; the two take turns
LIFESPAN = 3650  # days
LONG_LIVED = "long_lived_access_token"


@dataclass(frozen=True)
class TokenPlan:
    """What is to be done about tokens.

    Args:
        make: clients whose token is missing or no longer holds.
        add: clients that need a second one, to be used next.
        revoke: ids of the tokens behind the former, of those rotated out, and of clients that are no more.
        forget: clients that are no more.
        replaced: clients of whom an old token goes, while the one in use stays.
    """

    make: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    revoke: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def id_of(token: str) -> str | None:
    """The id of the refresh token behind an access token; None where the text is no JWT."""
    parts = token.split(".")
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return None
    issuer = payload.get("iss") if isinstance(payload, dict) else None
    return issuer if isinstance(issuer, str) else None


@dataclass(frozen=True)
class Second:
    """A client's token that is not the one in use, while it is rotated.

    Args:
        token: the next one while offered, the one before later; None: the next one is still to be made.
        phase: how far the rotation is.
    """

    token: str | None = field(repr=False)
    phase: Phase


def plan_tokens(
    clients: Sequence[str],
    secrets: Mapping[str, str],
    listed: Sequence[Mapping[str, Any]],
    holds: Callable[[str], bool],
    second: Mapping[str, Second] | None = None,
) -> TokenPlan:
    """Which tokens to make, and which to revoke.

    Args:
        clients: the names that should have one.
        secrets: client -> the token that we keep; without those that have none.
        listed: `auth/refresh_tokens`.
        holds: tries a token.
        second: client -> its other token, of clients whose token is being rotated.
    """
    ours = {token_id: name.removesuffix(SECOND) for token_id, name in _ours(listed).items()}
    others = second or {}

    def good(client: str, token: str | None) -> bool:
        issuer = id_of(token) if token else None
        return bool(token and issuer and ours.get(issuer) == client and holds(token))

    make = tuple(client for client in clients if not good(client, secrets.get(client)))
    beside = {
        client: other.token
        for client, other in others.items()
        if other.phase != "withdrawn" and good(client, other.token)
    }
    gone = tuple(sorted({name for name in ours.values() if name not in clients}))
    kept = {id_of(secrets[client]) for client in clients if client not in make}
    kept |= {id_of(token) for token in beside.values() if token}
    # A name that is taken while its secret is lost cannot be given again: the old one goes.
    revoke = tuple(token for token in ours if token not in kept)
    replaced = tuple(sorted({ours[token] for token in revoke} - {*make, *gone}))
    add = tuple(
        client
        for client in clients
        if client in others and others[client].phase == "offered" and client not in beside
    )
    return TokenPlan(make, add, revoke, gone, replaced)


def _ours(listed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Id -> client, with `SECOND` where it has that name."""
    return {
        row["id"]: row["client_name"].removeprefix(PREFIX)
        for row in listed
        if row["type"] == LONG_LIVED and (row["client_name"] or "").startswith(PREFIX)
    }


def listed(session: Client) -> list[dict[str, Any]]:
    """Every refresh token of the session's user."""
    return list(session.ask("auth/refresh_tokens", "list the tokens"))


def revoke(session: Client, token_id: str) -> None:
    """Revoke one."""
    session.ask("auth/delete_refresh_token", "revoke a token", refresh_token_id=token_id)


def make(session: Client, client: str) -> str:
    """Make a client's token; its text is shown this once."""
    taken = _ours(listed(session)).values()
    name = PREFIX + (client if client not in taken else client + SECOND)
    content = {"client_name": name, "lifespan": LIFESPAN}
    action = f"make the token of {client}"
    return str(session.ask("auth/long_lived_access_token", action, **content))


def holds(client: Client, token: str) -> bool:
    """Whether a token is accepted."""
    with client.with_token(token) as asking:
        return asking.answer("GET", "/api/").is_success

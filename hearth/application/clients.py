"""Who may use an application's API: a bearer token each, of which the application knows only the hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hearth.application.source import Declared
from hearth.fleet.model import Fleet
from hearth.role.acl import service_user
from hearth.role.declaration import Role
from hearth.role.tokens import CLIENT
from hearth.secrets import Secret, SecretStore, password
from hearth.secrets.rotation import accepted_beside

WEB = "web"


def services(fleet: Fleet, roles: Mapping[str, Role], provider: str) -> tuple[str, ...]:
    """The clients that follow from the roles' needs: `ROLE-GUEST` for each that needs the provider's web."""
    return tuple(
        service_user(name, guest.name)
        for guest in fleet.guests
        for name in guest.roles
        if name in roles and any((need.role, need.port) == (provider, WEB) for need in roles[name].needs)
    )


def named(declared: Declared, value: Any, scopes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The further clients that group_data declares: name -> {"scopes": [...], ...}.

    Args:
        declared: the value's name.
        value: the mapping.
        scopes: what there is to be allowed.

    Raises:
        HearthError: a name that is none, or scopes that there are not.
    """
    if not isinstance(value, Mapping):
        declared.refuse("it is no mapping", 'write e.g. {"tablet": {"scopes": ["read"]}}')
    for name, client in value.items():
        if not isinstance(name, str) or not CLIENT.fullmatch(name):
            declared.refuse(f"{name!r} is no client's name", "use a-z, 0-9 and -, at most 63")
        wanted = client.get("scopes") if isinstance(client, Mapping) else None
        if not isinstance(wanted, list) or not wanted or not set(wanted) <= set(scopes):
            declared.refuse(f"{name} has the scopes {wanted!r}", f"write a list of {', '.join(scopes)}")
    return {name: dict(client) for name, client in value.items()}


def token(secrets: SecretStore, provider: str, client: str) -> Secret:
    """A client's token, the secret `PROVIDER/token/CLIENT`; generated where there is none.

    Args:
        secrets: the store.
        provider: the application's role, e.g. "mcp_hub".
        client: the client's name.
    """
    return secrets.ensure(_name(provider, client), password)


def _name(provider: str, client: str) -> str:
    return f"{provider.replace('_', '-')}/token/{client}"


def digests(secrets: SecretStore, provider: str, client: str) -> list[str]:
    """What an application's configuration holds of a client's tokens: two while its token is rotated.

    Sorted: which of the two is in use changes nothing at the application.
    """
    used = token(secrets, provider, client)
    name = _name(provider, client)
    other = accepted_beside(secrets.find, name).get(name)
    return sorted(digest(secret) for secret in (used, other) if secret)


def digest(secret: Secret) -> str:
    """What the application's configuration holds of a token: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()

"""Where the API is and how to log in: from the fleet file and the environment, which wins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hearth.errors import HearthError
from hearth.fleet.model import Node

ENDPOINT = "PROXMOX_VE_ENDPOINT"
TOKEN = "PROXMOX_VE_API_TOKEN"
INSECURE = "PROXMOX_VE_INSECURE"
CA_BUNDLE = "PROXMOX_VE_CA_BUNDLE"
_TOKEN = re.compile(r"(?P<user>[^\s!=@]+@[^\s!=@]+)!(?P<name>[A-Za-z][\w.-]*)=(?P<value>[0-9A-Za-z-]+)")


@dataclass(frozen=True)
class Ticket:
    """Two hours of a user's rights, and what proves that a write is meant: POST /access/ticket."""

    value: str = field(repr=False)
    csrf: str = field(repr=False)


@dataclass(frozen=True)
class Access:
    """An endpoint (https://host:8006) and a token; `verify` is a CA file, True (the system's) or False.

    `ticket` stands in the token's place where somebody logged in with a password: hearth.proxmox.login.
    """

    endpoint: str
    user: str
    token_name: str
    token_value: str = field(repr=False)
    verify: bool | str = True
    ticket: Ticket | None = None

    @property
    def host(self) -> str:
        """host:port as proxmoxer wants it."""
        return urlsplit(self.endpoint).netloc


def access(node: Node, env: Mapping[str, str], token: str | None = None) -> Access:
    """How to reach a node's API.

    Args:
        node: from the fleet; its endpoint counts unless PROXMOX_VE_ENDPOINT is set.
        env: PROXMOX_VE_ENDPOINT, PROXMOX_VE_API_TOKEN, PROXMOX_VE_INSECURE, PROXMOX_VE_CA_BUNDLE.
        token: `user@realm!id=uuid`, where the environment has none.

    Raises:
        HearthError: there is no token, or it or the endpoint is not of its form.
    """
    given = env.get(TOKEN) or token or ""
    found = _TOKEN.fullmatch(given.strip())
    if found is None:
        reason = (
            "there is no API token" if not given else "the API token is not of the form user@realm!id=uuid"
        )
        raise HearthError(f"log in at {node.name}", reason, f"set {TOKEN}, or keep it in the secrets file")
    endpoint = endpoint_of(env.get(ENDPOINT) or node.endpoint)
    return Access(endpoint, found["user"], found["name"], found["value"], verify_of(env))


def endpoint_of(text: str) -> str:
    """https://HOST:PORT of what the admin wrote; HearthError where it is no https address."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme != "https" or not parts.hostname:
        raise HearthError(f"use the endpoint {text}", "it is not an https address", "write https://HOST:8006")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}:{parts.port or 8006}"


def verify_of(env: Mapping[str, str]) -> bool | str:
    """How the certificate is checked: a CA file, True (the system's) or False. HearthError: no such file."""
    if env.get(INSECURE, "").lower() in ("1", "true", "yes"):
        return False
    bundle = env.get(CA_BUNDLE)
    if bundle and not Path(bundle).is_file():
        raise HearthError(
            f"read {bundle}", "there is no such file", f"{CA_BUNDLE} names the node's CA certificate"
        )
    return bundle or True

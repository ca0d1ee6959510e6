"""Which API a server speaks."""

from __future__ import annotations

import re
from typing import Final

import httpx

from hearth.tailnet.access import Access, OAuthClient
from hearth.tailnet.errors import TailnetError
from hearth.tailnet.headscale_v1 import HeadscaleV1
from hearth.tailnet.model import Api
from hearth.tailnet.v2 import V2
from hearth.tailnet.wire import Patience, Wire

FIRST_WITH_V2: Final = (0, 30)  # headscale's CHANGELOG
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def connect(access: Access, patience: Patience | None = None) -> Api:
    """The API of a coordination server; one of one's own is asked for its version first.

    Args:
        access: where it is, and the credential.
        patience: how long to try; None: the usual.

    Raises:
        TailnetError: it is not reached, or the credential is of a kind that it does not know.
    """
    wire = Wire(access, patience)
    if not access.own_server:
        return V2(wire)
    version = headscale_version(wire.look("/version", "ask the coordination server for its version"))
    if version is None or version >= FIRST_WITH_V2:
        return V2(wire)
    if isinstance(access.credential, OAuthClient):
        found = ".".join(map(str, version))
        reason = f"headscale {found} knows no OAuth clients"
        raise TailnetError(f"log in at {access.url}", reason, "set TAILSCALE_API_KEY, or upgrade to 0.30")
    return HeadscaleV1(wire)


def headscale_version(answer: httpx.Response) -> tuple[int, int] | None:
    """Major and minor version of what `GET /version` says; None where it does not (another server, "dev")."""
    try:
        found = _VERSION.match(str(answer.json()["version"])) if answer.is_success else None
    except (ValueError, KeyError, TypeError):
        return None
    return (int(found[1]), int(found[2])) if found else None

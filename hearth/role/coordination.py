"""The way to the coordination server's API: the fleet's own headscale, else Tailscale's."""

from __future__ import annotations

from collections.abc import Mapping

from hearth.fleet.model import Fleet
from hearth.role.declaration import Role
from hearth.role.tailnet import api_url
from hearth.secrets import SecretStore
from hearth.tailnet import Access, access
from hearth.tailnet.access import BASE_URL


def access_for(
    fleet: Fleet, roles: Mapping[str, Role], environ: Mapping[str, str], secrets: SecretStore
) -> Access:
    """Where the API of the fleet's tailnet is, and how to log in; TAILSCALE_BASE_URL wins.

    Args:
        fleet: the fleet.
        roles: every role there is.
        environ: environment variables.
        secrets: where the credential is.

    Raises:
        HearthError: there is no credential; see `hearth.tailnet.access`.
    """
    own = api_url(fleet, roles)
    return access({**({BASE_URL: own} if own else {}), **environ}, secrets)

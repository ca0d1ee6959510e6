"""Who talks to Home Assistant's API, each with a token of its own; derived from the roles' needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hearth.errors import HearthError
from hearth.fleet.model import Fleet
from hearth.role.acl import VERIFIER, service_user
from hearth.role.declaration import Role

HOME_ASSISTANT = "home_assistant"
WEB = "web"
DEPLOYER = "hearth"  # the run's own
CLIENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def token_name(client: str) -> str:
    """The secret that holds a client's long-lived token."""
    return f"home-assistant/token/{client}"


def ha_clients(fleet: Fleet, roles: Mapping[str, Role], extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Every client of Home Assistant: the run's own, tests/verify's, one a service, and those of group_data.

    Args:
        fleet: which guest has which role.
        roles: the catalogue; a need for `home_assistant.web` makes a client of each guest with the role.
        extra: further names.

    Raises:
        HearthError: a name that is none, or used twice.
    """
    services = [
        service_user(name, guest.name)
        for guest in fleet.guests
        for name in guest.roles
        if name in roles
        and any((need.role, need.port) == (HOME_ASSISTANT, WEB) for need in roles[name].needs)
    ]
    found: list[str] = []
    for name in (DEPLOYER, VERIFIER, *services, *extra):
        action = f"give the client {name} of Home Assistant its token"
        if not isinstance(name, str) or not CLIENT.fullmatch(name):
            raise HearthError(action, "the name is none", "use a-z, 0-9 and -, at most 63")
        if name in found:
            raise HearthError(action, "the name is taken", "rename it in home_assistant_clients")
        found.append(name)
    return tuple(found)

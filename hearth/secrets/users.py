"""What uses a secret, derived from the fleet and the roles' declarations."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hearth.fleet.model import Fleet
    from hearth.role.declaration import Role

OUTSIDE = {
    "proxmox/token": "this run, at Proxmox",
    "ssh/deploy": "this run, in every guest",
    "ssh/node": "this run, on every node",
    "tailscale/*": "this run, at the tailnet",
    "ca/*": "every certificate",
}


def users_of(name: str, fleet: Fleet, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """What uses a secret: `ROLE on GUEST`, or words for what is no role; empty where nothing does.

    Args:
        name: the secret's name.
        fleet: which guest has which role.
        roles: their declarations; `secrets` has the patterns that each uses.
    """
    found = [words for pattern, words in OUTSIDE.items() if fnmatchcase(name, pattern)]
    for guest in fleet.guests:
        if name.startswith("tls/"):
            if name.split("/")[1] == guest.name:
                found.append(f"the TLS ports of {guest.name}")
            continue
        if name.startswith("client/"):
            if name.split("/")[1] == guest.name:
                found.append(f"what {guest.name} calls others with")
            continue
        for role in (roles[word] for word in guest.roles if word in roles):
            if _uses(name, role, guest.name):
                found.append(f"{role.name} on {guest.name}")
    return tuple(dict.fromkeys(found))


def _uses(name: str, role: Role, guest: str) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in OUTSIDE):
        return False
    own = f"{role.name.replace('_', '-')}-"
    # The pattern of a service's own login fits those of all its guests; the secret is one guest's.
    fits = [pattern for pattern in role.secrets if fnmatchcase(name, pattern)]
    return any(not pattern.endswith(f"/{own}*") or name.endswith(f"/{own}{guest}") for pattern in fits)

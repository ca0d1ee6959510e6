"""Another API token with the rights of the present one, and the end of the present one.

Calls: /access/users/{userid}/token/{tokenid} and /access/acl, https://pve.proxmox.com/pve-docs/api-viewer/.
They need more rights than Hearth's own token has (User.Modify, Permissions.Modify): root's, for this once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hearth.errors import HearthError
from hearth.proxmox.access import Access
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.faults import UNAUTHORIZED

SECOND = "-b"  # after a token's name: the other one; the two take turns


def other_name(name: str) -> str:
    """The name of the token that takes the place of this one."""
    return name.removesuffix(SECOND) if name.endswith(SECOND) else name + SECOND


def make(api: Api, present: Access) -> str:
    """Make another token of the same user with the same rights, and see that it opens.

    One of its name that is there already is removed first: Proxmox shows a value only once.

    Args:
        api: with rights over users and permissions.
        present: the present token.

    Returns:
        `user@realm!id=uuid`.

    Raises:
        HearthError: Proxmox refuses, the present token is not there, or the new one has other rights.
    """
    name = other_name(present.token_name)
    old, new = (f"{present.user}!{word}" for word in (present.token_name, name))
    settings = _tokens(api, present.user).get(present.token_name)
    if settings is None:
        raise HearthError(f"make another token than {old}", "that one is not there", "python bootstrap.py")
    remove(api, present.user, name)
    kept = {key: settings[key] for key in ("comment", "expire") if settings.get(key)}
    privsep = int(settings.get("privsep", 1))
    made = api.post(f"/access/users/{present.user}/token/{name}", privsep=privsep, **kept)
    for row in api.get("/access/acl") or []:
        if row.get("type") == "token" and row.get("ugid") == old:
            where = {"path": row["path"], "roles": row["roleid"], "propagate": int(row.get("propagate", 1))}
            api.put("/access/acl", tokens=new, **where)
    _check(present, replace(present, token_name=name, token_value=str(made["value"])))
    return f"{new}={made['value']}"


def remove(api: Api, user: str, name: str) -> None:
    """Remove a token, and with it its rights; nothing where there is none. Raises ApiError."""
    if name in _tokens(api, user):
        api.delete(f"/access/users/{user}/token/{name}")


def opens(way: Access) -> bool:
    """Whether Proxmox accepts a token. Raises ApiError where it cannot be asked."""
    try:
        Api(way).get("/version")
    except ApiError as error:
        if error.status == UNAUTHORIZED:
            return False
        raise
    return True


def _tokens(api: Api, user: str) -> dict[str, Any]:
    return {str(row["tokenid"]): row for row in api.get(f"/access/users/{user}/token") or []}


def _check(present: Access, new: Access) -> None:
    had, has = (Api(way).get("/access/permissions") for way in (present, new))
    if had != has:
        raise HearthError(
            f"make another token than {present.user}!{present.token_name}",
            "the new one has other rights",
            "python bootstrap.py, then rotate it again",
        )

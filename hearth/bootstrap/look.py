"""Reads what `rights.plan` starts from: GETs only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hearth.bootstrap import reader
from hearth.bootstrap.rights import TOKEN_NAME, USER, Entry, Seen
from hearth.errors import HearthError
from hearth.proxmox.access import Access
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.faults import UNAUTHORIZED

NEEDED = {
    "/access": ("Sys.Modify", "User.Modify", "Realm.AllocateUser"),
    "/pool": ("Pool.Allocate",),
    "/": ("Permissions.Modify",),
}


def look(api: Api, own: Access | None) -> Seen:
    """What there is of Hearth's rights.

    Args:
        api: with root's rights.
        own: the way in with the token that the secrets hold, None where they hold none of ours.

    Raises:
        HearthError: it cannot be asked.
    """
    users = {str(row["userid"]): row for row in api.get("/access/users", full=1) or []}
    user = users.get(USER)
    tokens = {str(row["tokenid"]): row for row in (user or {}).get("tokens") or []}
    token = tokens.get(TOKEN_NAME)
    return Seen(
        roles={str(row["roleid"]): _names(row.get("privs")) for row in api.get("/access/roles") or []},
        pools=frozenset(str(row["poolid"]) for row in api.get("/pools") or []),
        entries=tuple(_entry(row) for row in api.get("/access/acl") or []),
        user=_numbers(user, "enable", "expire"),
        token=_numbers(token, "privsep", "expire"),
        token_opens=token is not None and own is not None and opens(own),
    )


def look_for_reader(api: Api, own: Access | None) -> reader.ReaderSeen:
    """What there is of the user that only reads.

    Args:
        api: with root's rights.
        own: the way in with its token, None where the secrets hold none.

    Raises:
        HearthError: it cannot be asked.
    """
    users = {str(row["userid"]): row for row in api.get("/access/users", full=1) or []}
    user = users.get(reader.USER)
    tokens = {str(row["tokenid"]): row for row in (user or {}).get("tokens") or []}
    token = tokens.get(reader.TOKEN_NAME)
    return reader.ReaderSeen(
        user=_numbers(user, "enable", "expire"),
        token=_numbers(token, "privsep", "expire"),
        token_opens=token is not None and own is not None and opens(own),
        entries=tuple(_entry(row) for row in api.get("/access/acl") or []),
    )


def opens(own: Access) -> bool:
    """Whether Proxmox accepts a token."""
    try:
        Api(own).get("/version")
    except ApiError as error:
        if error.status == UNAUTHORIZED:
            return False
        raise
    return True


def check_root(api: Api, who: str) -> None:
    """Fail before anything is changed where the rights do not suffice.

    Args:
        api: with the rights of `who`, a user or token id.

    Raises:
        HearthError: they do not.
    """
    held: Mapping[str, Mapping[str, Any]] = api.get("/access/permissions") or {}
    lacking = [
        f"{name} on {path}"
        for path, names in NEEDED.items()
        for name in names
        if name not in held.get(path, {})
    ]
    if lacking:
        raise HearthError(
            f"give Hearth its rights as {who}",
            f"it may not do that itself: it lacks {', '.join(sorted(set(lacking)))}",
            "use a token of root@pam without privilege separation, or unset PROXMOX_VE_API_TOKEN and log in",
        )


def _names(text: object) -> frozenset[str]:
    return frozenset(name for name in str(text or "").replace(",", " ").split() if name)


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        path=str(row["path"]),
        kind=str(row["type"]),
        who=str(row["ugid"]),
        role=str(row["roleid"]),
        below=bool(int(row.get("propagate", 1))),
    )


def _numbers(row: Mapping[str, Any] | None, *names: str) -> dict[str, int] | None:
    return None if row is None else {name: int(row[name]) for name in names if row.get(name) is not None}

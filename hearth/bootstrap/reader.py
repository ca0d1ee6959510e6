"""The second user that monitoring has: it reads Proxmox and changes nothing. Pure.

hearth-metrics@pve, with Proxmox's own role PVEAuditor on everything and a token `read`, is there while some
guest of the fleet has role monitoring, and goes with it. Calls:
https://pve.proxmox.com/pve-docs/api-viewer/#/access.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hearth.bootstrap.rights import Entry, Step

USER = "hearth-metrics@pve"
TOKEN_NAME = "read"
TOKEN = f"{USER}!{TOKEN_NAME}"
SECRET = "proxmox/reader"
ROLE = "PVEAuditor"
USER_PATH = f"/access/users/{USER}"
TOKEN_PATH = f"{USER_PATH}/token/{TOKEN_NAME}"
COMMENT = "Hearth: monitoring reads, and changes nothing (bootstrap.py)"
WANTED = Entry("/", "user", USER, ROLE, True)


@dataclass(frozen=True)
class ReaderSeen:
    """What is there of it.

    Args:
        user: as GET /access/users has it (enable, expire), None where there is none.
        token: the same of its token (privsep, expire).
        token_opens: the secrets hold this token's value: Proxmox accepts it.
        entries: every ACL entry.
    """

    user: Mapping[str, int] | None = None
    token: Mapping[str, int] | None = None
    token_opens: bool = False
    entries: tuple[Entry, ...] = ()


def plan(wanted: bool, seen: ReaderSeen) -> tuple[Step, ...]:
    """The calls that lead from what is there to what is wanted; each one killed leaves what the next starts
    from.

    Args:
        wanted: some guest monitors.
        seen: what is there.
    """
    if wanted:
        return (*_user(seen), *_rights(seen), *_token(seen))
    if seen.user is None:
        return ()
    # Its token and its rights go with it.
    return (Step(f"remove user {USER}: no guest monitors any more", "DELETE", USER_PATH),)


def _user(seen: ReaderSeen) -> list[Step]:
    if seen.user is None:
        text = f"make user {USER}, without a password, for monitoring"
        return [Step(text, "POST", "/access/users", {"userid": USER, "comment": COMMENT})]
    if seen.user.get("enable", 1) and not seen.user.get("expire", 0):
        return []
    return [Step(f"enable user {USER} again", "PUT", USER_PATH, {"enable": 1, "expire": 0})]


def _rights(seen: ReaderSeen) -> list[Step]:
    own = {entry for entry in seen.entries if entry.who == USER}
    steps = [
        Step(
            f"take {entry.role} on {entry.path} from {USER}: it only reads",
            "PUT",
            "/access/acl",
            {"path": entry.path, "roles": entry.role, "users": USER, "delete": 1},
        )
        for entry in sorted(own - {WANTED})
    ]
    if WANTED not in own or steps:
        text = f"let {USER} read everything ({ROLE})"
        params: dict[str, str | int] = {"path": "/", "roles": ROLE, "users": USER, "propagate": 1}
        steps.append(Step(text, "PUT", "/access/acl", params))
    return steps


def _token(seen: ReaderSeen) -> list[Step]:
    made = Step(
        f"make token {TOKEN}, and keep its value in the secrets as {SECRET}",
        "POST",
        TOKEN_PATH,
        # Without rights of its own it has its user's, which are to read.
        {"privsep": 0, "expire": 0, "comment": COMMENT},
        brings_token=True,
        kept_as=SECRET,
    )
    if seen.token is None:
        return [made]
    if not seen.token_opens:
        text = f"remove token {TOKEN}: the secrets hold no value of it that Proxmox accepts"
        return [Step(text, "DELETE", TOKEN_PATH), made]
    if not seen.token.get("privsep", 1) and not seen.token.get("expire", 0):
        return []
    text = f"give token {TOKEN} its user's rights, and no end"
    return [Step(text, "PUT", TOKEN_PATH, {"privsep": 0, "expire": 0})]

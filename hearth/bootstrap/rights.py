"""What root must call to give Hearth's user and token exactly the rights that a fleet needs. Pure.

Ours are the user hearth@pve, its token `deploy`, roles with the names of `role_name`, and ACL entries that
give such a role to that user or that token. Nothing else is changed.
Calls: https://pve.proxmox.com/pve-docs/api-viewer/#/access and #/pools.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hearth.proxmox.privileges import Grant, is_our_role

USER = "hearth@pve"
TOKEN_NAME = "deploy"
TOKEN = f"{USER}!{TOKEN_NAME}"
TOKEN_PATH = f"/access/users/{USER}/token/{TOKEN_NAME}"
COMMENT = "Hearth: the home as code (bootstrap.py)"
OURS = {"user": USER, "token": TOKEN}


@dataclass(frozen=True, order=True)
class Entry:
    """An ACL entry: `role` on `path` for `who` (of `kind` user, group or token); `below`: it propagates."""

    path: str
    kind: str
    who: str
    role: str
    below: bool


@dataclass(frozen=True)
class Seen:
    """What is there.

    Args:
        roles: name -> privileges.
        pools: their names.
        entries: every ACL entry.
        user: hearth@pve as GET /access/users has it (enable, expire), None where there is none.
        token: the same of its token (privsep, expire).
        token_opens: the secrets hold this token's value: Proxmox accepts it.
    """

    roles: Mapping[str, frozenset[str]]
    pools: frozenset[str] = frozenset()
    entries: tuple[Entry, ...] = ()
    user: Mapping[str, int] | None = None
    token: Mapping[str, int] | None = None
    token_opens: bool = False


@dataclass(frozen=True)
class Step:
    """One call that changes something.

    Args:
        text: what it does, for the admin.
        method: "POST", "PUT" or "DELETE".
        path: below /api2/json.
        params: what is sent.
        brings_token: its answer holds the token's value, which is never shown again.
        kept_as: the secret that it becomes.
    """

    text: str
    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    brings_token: bool = False
    kept_as: str = "proxmox/token"


def plan(wanted: Collection[Grant], pools: Collection[str], seen: Seen) -> tuple[Step, ...]:
    """The calls that lead from what is there to what is wanted, in an order that never cuts a run off.

    Each one killed leaves what the next plan starts from.
    """
    steps = [
        Step(f"make pool {pool}", "POST", "/pools", {"poolid": pool, "comment": COMMENT})
        for pool in sorted(set(pools) - seen.pools)
    ]
    steps += [step for grant in wanted for step in _role(grant, seen)]
    steps += _user(seen) + _token(seen)
    steps += [step for grant in wanted for step in _entry(grant, seen)]
    return (*steps, *_taken_away(wanted, seen))


def strangers(wanted: Collection[Grant], seen: Seen) -> tuple[str, ...]:
    """What others gave Hearth's user or token, or made of its roles: it stays, and the admin should know."""
    roles = {grant.role for grant in wanted}
    found = []
    for entry in sorted(seen.entries):
        mine = OURS.get(entry.kind) == entry.who
        if mine and not is_our_role(entry.role):
            found.append(f"{entry.who} also has the role {entry.role} on {entry.path}")
        elif not mine and entry.role in roles:
            found.append(f"{entry.who} also has the role {entry.role}, which is Hearth's, on {entry.path}")
    return tuple(found)


def _role(grant: Grant, seen: Seen) -> list[Step]:
    privileges = ",".join(sorted(grant.privileges))
    there = seen.roles.get(grant.role)
    if there is None:
        params = {"roleid": grant.role, "privs": privileges}
        return [Step(f"make role {grant.role}: {_words(grant.privileges)}", "POST", "/access/roles", params)]
    if there == grant.privileges:
        return []
    changes = [f"+{name}" for name in sorted(grant.privileges - there)]
    changes += [f"-{name}" for name in sorted(there - grant.privileges)]
    text = f"change role {grant.role}: {' '.join(changes)}"
    return [Step(text, "PUT", f"/access/roles/{grant.role}", {"privs": privileges})]


def _user(seen: Seen) -> list[Step]:
    if seen.user is None:
        text = f"make user {USER}, without a password"
        return [Step(text, "POST", "/access/users", {"userid": USER, "comment": COMMENT})]
    if seen.user.get("enable", 1) and not seen.user.get("expire", 0):
        return []
    return [Step(f"enable user {USER} again", "PUT", f"/access/users/{USER}", {"enable": 1, "expire": 0})]


def _token(seen: Seen) -> list[Step]:
    made = Step(
        f"make token {TOKEN}, and keep its value in the secrets as proxmox/token",
        "POST",
        TOKEN_PATH,
        {"privsep": 1, "expire": 0, "comment": COMMENT},
        brings_token=True,
    )
    if seen.token is None:
        return [made]
    if not _token_stays(seen):
        text = (
            f"remove token {TOKEN}: the secrets hold no value of it that Proxmox accepts, "
            "and it shows a value only once"
        )
        return [Step(text, "DELETE", TOKEN_PATH), made]
    if seen.token.get("privsep", 1) and not seen.token.get("expire", 0):
        return []
    text = f"give token {TOKEN} rights of its own, and no end"
    return [Step(text, "PUT", TOKEN_PATH, {"privsep": 1, "expire": 0})]


def _token_stays(seen: Seen) -> bool:
    return seen.token is not None and seen.token_opens


def _entry(grant: Grant, seen: Seen) -> list[Step]:
    """For the user and the token: one with privilege separation has only what its user has too."""
    there = {(entry.kind, entry.who, entry.below) for entry in _at(grant.path, grant.role, seen)}
    if _token_stays(seen) and all((kind, who, grant.below) in there for kind, who in OURS.items()):
        return []
    text = f"give {grant.role} on {grant.path}{' and below' if grant.below else ''}"
    params = _acl(grant.path, grant.role, propagate=int(grant.below))
    return [Step(text, "PUT", "/access/acl", params)]


def _acl(path: str, role: str, **how: int) -> dict[str, str | int]:
    return {"path": path, "roles": role, "users": USER, "tokens": TOKEN, **how}


def _at(path: str, role: str, seen: Seen) -> list[Entry]:
    return [entry for entry in seen.entries if (entry.path, entry.role) == (path, role)]


def _taken_away(wanted: Collection[Grant], seen: Seen) -> list[Step]:
    """Entries first: Proxmox leaves those of a removed role behind, and then refuses to name them."""
    places = {(grant.path, grant.role) for grant in wanted}
    surplus = [
        entry
        for entry in seen.entries
        if OURS.get(entry.kind) == entry.who
        and is_our_role(entry.role)
        and (entry.path, entry.role) not in places
    ]
    steps: list[Step] = []
    for path, role in sorted({(entry.path, entry.role) for entry in surplus}):
        params = _acl(path, role, delete=1)
        steps.append(Step(f"take {role} on {path} away", "PUT", "/access/acl", params))
    kept = {entry.role for entry in seen.entries if entry not in surplus} | {grant.role for grant in wanted}
    for role in sorted(role for role in seen.roles if is_our_role(role) and role not in kept):
        steps.append(Step(f"remove role {role}", "DELETE", f"/access/roles/{role}"))
    return steps


def _words(names: Collection[str]) -> str:
    return " ".join(sorted(names))

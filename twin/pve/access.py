"""Users, groups, roles, tokens and ACLs of a fake, and the privileges that follow from them.

Pure data and decisions. Source of the rules: `roles` in PVE/AccessControl.pm, `permissions` and
`get_effective_permissions` in PVE/RPCEnvironment.pm (pve-access-control).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from twin.pve.roles import built_in_roles, privileges

ROOT = "root@pam"

#: Paths that `GET /access/permissions` always looks at.
TOP_LEVEL = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")

#: Role -> whether it propagates to paths below; privilege -> the same.
Held = dict[str, bool]


@dataclass
class Token:
    """An API token. `expire` is a Unix time, 0 for never."""

    comment: str | None = None
    expire: int = 0
    privsep: bool = True


@dataclass
class User:
    """A user of any realm. `expire` is a Unix time, 0 for never."""

    enable: bool = True
    expire: int = 0
    details: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    tokens: dict[str, Token] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """To whom an ACL entry gives what, where. `kind` is user, group or token."""

    path: str
    kind: str
    ugid: str
    role: str


def split_token(who: str) -> tuple[str, str | None]:
    """`user@realm!id` as (user, id); (user, None) where it names no token."""
    user, mark, name = who.partition("!")
    return user, name if mark else None


class Access:
    """The access configuration of one fake.

    Args:
        major: Proxmox VE's major version, 8 or 9: they have other privileges.
    """

    def __init__(self, major: int) -> None:
        self.privileges = privileges(major)
        self.built_in = built_in_roles(major)
        self.custom: dict[str, frozenset[str]] = {}
        self.users: dict[str, User] = {ROOT: User()}
        self.groups: dict[str, str | None] = {}
        self.acl: dict[Entry, bool] = {}

    def role(self, name: str) -> frozenset[str] | None:
        """The privileges of a role, or None where there is no such role."""
        return self.built_in.get(name, self.custom.get(name))

    def token(self, who: str) -> Token | None:
        """The token `user@realm!id`, or None."""
        user, name = split_token(who)
        found = self.users.get(user)
        return found.tokens.get(name) if found and name is not None else None

    def active(self, who: str) -> bool:
        """Whether a user, and the token where `who` names one, is enabled and has not expired."""
        user, name = split_token(who)
        owner = self.users.get(user)
        if owner is None or not owner.enable or _past(owner.expire):
            return False
        token = self.token(who)
        return name is None or (token is not None and not _past(token.expire))

    def permissions(self, who: str, path: str, pools: Iterable[str] = ()) -> Held:
        """The privileges `who` holds on `path`.

        Args:
            who: a user or token id.
            path: an ACL path, "/vms/100".
            pools: the pools that the guest or storage at `path` belongs to.

        Returns:
            privilege -> whether it propagates to paths below.
        """
        if who == ROOT:
            return dict.fromkeys(self.privileges, True)
        pools = tuple(pools)
        user, name = split_token(who)
        if name is None:
            return self._privileges_of(self._roles_with_pools(who, path, pools))
        token = self.token(who)
        if token is None:
            return {}
        owner = self.permissions(user, path, pools)
        if not token.privsep:
            return owner
        own = self._privileges_of(self._roles_with_pools(who, path, pools))
        return {priv: spread and owner[priv] for priv, spread in own.items() if priv in owner}

    def effective(self, who: str, pools: Mapping[str, Iterable[str]]) -> dict[str, Held]:
        """What `who` holds on every path that is mentioned anywhere, without paths where that is nothing.

        Args:
            who: a user or token id.
            pools: path of each pool member -> the pools it is in.
        """
        paths = {*TOP_LEVEL, *pools, *(entry.path for entry in self.acl)}
        found = {path: self.permissions(who, path, pools.get(path, ())) for path in sorted(paths)}
        return {path: held for path, held in found.items() if held}

    def forget(self, kind: str, ugid: str) -> None:
        """Drop every ACL entry of a user, group or token."""
        self.acl = {e: spread for e, spread in self.acl.items() if (e.kind, e.ugid) != (kind, ugid)}

    def forget_path(self, path: str) -> None:
        """Drop every ACL entry on a path: its guest or storage is gone."""
        self.acl = {e: spread for e, spread in self.acl.items() if e.path != path}

    def _roles_with_pools(self, who: str, path: str, pools: tuple[str, ...]) -> Held:
        roles = self._roles(who, path)
        from_pools = {role for pool in pools for role in self._roles(who, "/pool/" + pool)}
        if "NoAccess" in roles or not from_pools:
            return roles
        if "NoAccess" in from_pools:
            return {"NoAccess": False}
        return {**dict.fromkeys(from_pools, False), **roles}

    def _roles(self, who: str, path: str) -> Held:
        """The roles on a path: a deeper entry replaces a shallower one, a user's entry its groups'."""
        roles: Held = {}
        for step in _steps(path):
            here = self._entries(who, step, final=step == path)
            roles = here or roles
        return {"NoAccess": roles["NoAccess"]} if "NoAccess" in roles else roles

    def _entries(self, who: str, step: str, final: bool) -> Held:
        user, name = split_token(who)
        own: Held = {}
        by_group: Held = {}
        member_of = self.users[user].groups if name is None and user in self.users else set()
        for entry, spread in self.acl.items():
            if entry.path != step or not (final or spread):
                continue
            if entry.ugid == who and entry.kind == ("user" if name is None else "token"):
                own[entry.role] = spread
            elif entry.kind == "group" and entry.ugid in member_of:
                by_group[entry.role] = spread
        return own or by_group

    def _privileges_of(self, roles: Held) -> Held:
        held: Held = {}
        for role, spread in roles.items():
            for privilege in self.role(role) or ():
                held[privilege] = held.get(privilege, False) or spread
        return held


def _steps(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))]


def _past(expire: int) -> bool:
    return bool(expire) and expire < time.time()

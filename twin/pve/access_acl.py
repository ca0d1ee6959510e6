"""Correction: /access/groups, roles, acl and permissions are stateful. Recordings 759-786, 809-848.

Source of what was not recorded: PVE/API2/{Group,Role,ACL,AccessControl}.pm (pve-access-control).
"""

from __future__ import annotations

from typing import Any

from fakepve import PveError
from fakepve.routing import die, param_error, split_list

from twin.pve.access import Entry, split_token
from twin.pve.permissions import Permissions
from twin.pve.roles import ACL_PATH

#: Who may change ACLs below these paths without Permissions.Modify: check_perm_modify, RPCEnvironment.pm.
_OWNERS = {"/storage": "Datastore.Allocate", "/pool": "Pool.Allocate", "/vms": "VM.Allocate"}


class AccessAcl(Permissions):
    """Groups, roles, ACL entries, and what follows from them."""

    def _routes_access(self) -> list[Any]:
        groups, roles = "/access/groups", "/access/roles"
        return [
            ("GET", "/access/permissions", self._permissions),
            ("GET", groups, self._group_list),
            ("POST", groups, self._group_create),
            ("GET", groups + "/{groupid}", self._group_read),
            ("PUT", groups + "/{groupid}", self._group_update),
            ("DELETE", groups + "/{groupid}", self._group_delete),
            ("GET", roles, self._role_list),
            ("POST", roles, self._role_create),
            ("GET", roles + "/{roleid}", self._role_read),
            ("PUT", roles + "/{roleid}", self._role_update),
            ("DELETE", roles + "/{roleid}", self._role_delete),
            ("GET", "/access/acl", self._acl_list),
            ("PUT", "/access/acl", self._acl_update),
        ]

    def give(self, path: str, role: str, who: str, propagate: bool = True) -> None:
        """Give a user or token a role on a path."""
        kind = "user" if split_token(who)[1] is None else "token"
        self.access.acl[Entry(path, kind, who, role)] = propagate

    async def _permissions(self, v: dict[str, Any], user: str) -> dict[str, dict[str, int]]:
        who = v.get("userid") or user
        if who not in (user, split_token(user)[0]):
            self.require(user, "/access", "Sys.Audit")
        if v.get("path") is not None:
            found = {v["path"]: self.held(who, v["path"])}
        else:
            found = self.access.effective(who, self._pool_paths())
            for path, _ in self.acl.get(who, []) + self.acl.get(split_token(who)[0], []):
                found[path] = self.held(who, path)
        return {path: {p: int(s) for p, s in sorted(held.items())} for path, held in sorted(found.items())}

    # ---------------------------------------------------------------- groups

    def _group_members(self, group: str) -> list[str]:
        return sorted(name for name, user in self.access.users.items() if group in user.groups)

    def _known_group(self, v: dict[str, Any], failed: str = "") -> str:
        if v["groupid"] not in self.access.groups:
            raise die(f"{failed}group '{v['groupid']}' does not exist")
        return str(v["groupid"])

    async def _group_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        found = []
        for group, comment in sorted(self.access.groups.items()):
            if not any(
                self.allowed(user, f"/access/groups/{group}", p)
                for p in ("User.Modify", "Sys.Audit", "Group.Allocate")
            ):
                continue
            item = {"groupid": group, "users": ",".join(self._group_members(group))}
            found.append({**item, "comment": comment} if comment else item)
        return found

    async def _group_create(self, v: dict[str, Any], user: str) -> None:
        if v["groupid"] in self.access.groups:
            raise die(f"create group failed: group '{v['groupid']}' already exists")
        self.access.groups[v["groupid"]] = v.get("comment")

    async def _group_read(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        group = self._known_group(v)
        answer: dict[str, Any] = {"members": self._group_members(group)}
        comment = self.access.groups[group]
        return {**answer, "comment": comment} if comment else answer

    async def _group_update(self, v: dict[str, Any], user: str) -> None:
        self.access.groups[self._known_group(v, "update group failed: ")] = v.get("comment")

    async def _group_delete(self, v: dict[str, Any], user: str) -> None:
        group = self._known_group(v, "delete group failed: ")
        del self.access.groups[group]
        self.access.forget("group", group)
        for one in self.access.users.values():
            one.groups.discard(group)

    # ----------------------------------------------------------------- roles

    def _privileges_given(self, v: dict[str, Any]) -> set[str]:
        privileges = set(split_list(v.get("privs")))
        for name in sorted(privileges - self.access.privileges):
            raise param_error(privs=f"invalid format - invalid privilege '{name}'\n")
        return privileges

    async def _role_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        every = {**self.access.custom, **self.access.built_in}
        return [
            {"roleid": name, "privs": ",".join(sorted(privs)), "special": int(name in self.access.built_in)}
            for name, privs in sorted(every.items())
        ]

    async def _role_create(self, v: dict[str, Any], user: str) -> None:
        privileges = self._privileges_given(v)
        if self.access.role(v["roleid"]) is not None:
            raise die(f"create role failed: role '{v['roleid']}' already exists")
        self.access.custom[v["roleid"]] = frozenset(privileges)

    async def _role_read(self, v: dict[str, Any], user: str) -> dict[str, int]:
        role = self.access.role(v["roleid"])
        if role is None:
            raise die(f"role '{v['roleid']}' does not exist")
        return dict.fromkeys(sorted(role), 1)

    async def _role_update(self, v: dict[str, Any], user: str) -> None:
        name = v["roleid"]
        if name in self.access.built_in:
            raise die(f"auto-generated role '{name}' cannot be modified")
        privileges = self._privileges_given(v)
        if name not in self.access.custom:
            raise die(f"update role failed: role '{name}' does not exist")
        kept = self.access.custom[name] if v.get("append") else frozenset()
        self.access.custom[name] = kept | privileges

    async def _role_delete(self, v: dict[str, Any], user: str) -> None:
        name = v["roleid"]
        if name in self.access.built_in:
            raise die(f"auto-generated role '{name}' cannot be deleted")
        if name not in self.access.custom:
            raise die(f"delete role failed: role '{name}' does not exist")
        del self.access.custom[name]
        self.access.acl = {e: s for e, s in self.access.acl.items() if e.role != name}

    # ------------------------------------------------------------------- ACL

    def _check(self, user: str, check: list[Any], values: Any, declared: Any = None) -> tuple[bool, str]:
        if check[0] != "perm-modify":
            return super()._check(user, check, values, declared)  # type: ignore[no-any-return]
        path = _normal(str(values.get("path", "")))
        return self._may_modify(user, path), f"{path}, Permissions.Modify"

    def _may_modify(self, user: str, path: str) -> bool:
        enough = ["Permissions.Modify"]
        enough += [priv for prefix, priv in _OWNERS.items() if path.startswith(prefix + "/")]
        return any(self.allowed(user, path, priv) for priv in enough)

    async def _acl_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        audit = self.allowed(user, "/access", "Sys.Audit")
        return [
            {"path": e.path, "type": e.kind, "ugid": e.ugid, "roleid": e.role, "propagate": int(spread)}
            for e, spread in sorted(self.access.acl.items(), key=lambda x: (x[0].path, x[0].kind, x[0].ugid))
            if audit or self._may_modify(user, e.path)
        ]

    async def _acl_update(self, v: dict[str, Any], user: str) -> None:
        path = _normal(v["path"])
        if not (v.get("users") or v.get("groups") or v.get("tokens")):
            missing = "either 'users', 'groups' or 'tokens' is required."
            raise param_error(users=missing, groups=missing, tokens=missing)
        if not v.get("delete") and not ACL_PATH.fullmatch(path):
            raise param_error(path=f"invalid ACL path '{v['path']}'")
        entries = [
            Entry(path, kind, ugid, role)
            for role in split_list(v["roles"])
            for kind in ("group", "user", "token")
            for ugid in split_list(v.get(kind + "s"))
        ]
        for entry in entries:
            self._check_entry(entry, user)
        for entry in entries:
            if v.get("delete"):
                self.access.acl.pop(entry, None)
            else:
                self.access.acl[entry] = bool(v.get("propagate", 1))

    def _check_entry(self, entry: Entry, user: str) -> None:
        failed = "ACL update failed: "
        role = self.access.role(entry.role)
        if role is None:
            raise die(f"{failed}role '{entry.role}' does not exist")
        held = self.held(user, entry.path)
        if user != "root@pam" and "Permissions.Modify" not in held and not (role and role <= held.keys()):
            need = "requires 'Permissions.Modify' or superset of privileges."
            raise PveError(
                400, "Parameter verification failed.", {"role": f"Cannot add role '{entry.role}' - {need}"}
            )
        if entry.kind == "group" and entry.ugid not in self.access.groups:
            raise die(f"{failed}group '{entry.ugid}' does not exist")
        if entry.kind == "user" and entry.ugid not in self.access.users:
            raise die(f"{failed}user '{entry.ugid}' does not exist")
        if entry.kind == "token" and self.access.token(entry.ugid) is None:
            owner, name = split_token(entry.ugid)
            raise die(f"{failed}no such token '{name}' for user '{owner}'")


def _normal(path: str) -> str:
    """Recording 785: "vms/100" means "/vms/100"."""
    return "/" + "/".join(part for part in path.split("/") if part)

"""Correction: who may do what follows from stateful users, roles, tokens and ACLs, and is enforced.

fakepve keeps a list of grants and takes any token of root for root@pam. Recordings 747-848 (users,
roles, tokens, ACLs and what a token with PVEAuditor may), 246 and 358-363 (root@pam only).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakepve import FakePve, PveError
from fakepve.lxc import split_props

from twin.pve.access import ROOT, Access, split_token


class Permissions(FakePve):
    """Computes privileges from `self.access`; fakepve's `grant()` adds to them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # With fakepve's default None even token users pass checks that are for root@pam only.
        self.acl: dict[str, list[tuple[str, set[str]]]] = {}
        self.access = Access(9)

    def pools_of(self, path: str) -> tuple[str, ...]:
        """The pools whose member lives at this ACL path: "/vms/N" or "/storage/ID"."""
        return self._pool_paths().get(path, ())

    def held(self, who: str, path: str) -> dict[str, bool]:
        """The privileges of a user or token on a path, each with whether it propagates."""
        found = self.access.permissions(who, path, self.pools_of(path))
        for privilege in self._granted(who, path):
            found.setdefault(privilege, True)
        return found

    def allowed(self, user: str, path: str, priv: str) -> bool:
        """Whether a user or token holds a privilege on a path. root@pam does, its tokens only as given."""
        if priv.startswith("VM.GuestAgent.") and priv not in self.access.privileges:
            priv = "VM.Monitor"  # what 9.0 split up
        return user == ROOT or priv in self.held(user, path)

    def may_attach(self, user: str, bridge: str, tag: str | None = None) -> bool:
        """Whether a user may attach guests to a bridge, or to one VLAN of it.

        Source: check_vnet_access in PVE/GuestHelpers.pm (pve-guest-common).
        """
        path = f"/sdn/zones/localnetwork/{bridge}"
        return self.allowed(user, f"{path}/{tag}" if tag else path, "SDN.Use")

    def _check_bridge(self, user: str, net: str) -> None:
        wanted = split_props(net)[1]
        bridge, tag = wanted.get("bridge"), wanted.get("tag")
        if bridge and not self.may_attach(user, bridge, tag):
            path = "/".join(("/sdn/zones/localnetwork", bridge, *([tag] if tag else [])))
            raise PveError(403, f"Permission check failed ({path}, SDN.Use)")

    def check_permissions(
        self,
        user: str | None,
        perms: Mapping[str, Any] | None,
        values: Mapping[str, Any],
        declared: Mapping[str, Any] | None = None,
    ) -> None:
        """Apply a method's permission rule from the schema. Raises a 403 as Proxmox words it."""
        rule = perms or {}
        if user == ROOT or (rule.get("user") in ("all", "world") and "check" not in rule):
            return
        if user is None or "check" not in rule:
            raise PveError(403, "Permission check failed (user != root@pam)")
        passed, why = self._check(user, rule["check"], values, declared)
        if not passed:
            raise PveError(403, f"Permission check failed ({why})" if why else "Permission check failed")

    def _granted(self, who: str, path: str) -> set[str]:
        """Privileges from fakepve's `grant()`, which a token of the user without separation shares."""
        names = {who}
        token = self.access.token(who)
        if token is None or not token.privsep:
            names.add(split_token(who)[0])
        places = (path, *("/pool/" + pool for pool in self.pools_of(path)))
        return {
            privilege
            for name in names
            for granted, privileges in self.acl.get(name, [])
            for privilege in privileges
            if granted == "/" or any(p == granted or p.startswith(granted + "/") for p in places)
        }

    def _pool_paths(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for pool, members in self.pools.items():
            paths = [f"/vms/{vmid}" for vmid in members]
            paths += [f"/storage/{sid}" for sid in self.pool_info.get(pool, {}).get("storage", ())]
            for path in paths:
                found[path] = (*found.get(path, ()), pool)
        return found

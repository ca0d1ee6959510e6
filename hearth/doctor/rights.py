"""Judges what the API token may do: too little, and too much. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from hearth.doctor.finding import Finding, fail, ok, warn
from hearth.proxmox.privileges import UNREMARKABLE, Privilege

Held = Mapping[str, bool]  # privilege -> it holds below the path too
CHECK = "token"


def judge_rights(
    needed: Collection[Privilege],
    held: Mapping[str, Held],
    everywhere: Collection[str],
    user: str,
    token: str,
) -> list[Finding]:
    """Compare what the token may do with what the fleet needs.

    Args:
        needed: see `hearth.proxmox.privileges.needed`.
        held: for each path of `needed`, what GET /access/permissions?path= says.
        everywhere: every privilege that the token has anywhere.
        user: "hearth@pve".
        token: its name, "deploy".
    """
    lacking = [privilege for privilege in needed if not _has(privilege, held.get(privilege.path, {}))]
    findings = _too_few(lacking, needed, user, token)
    extra = sorted(set(everywhere) - UNREMARKABLE)
    if extra:
        findings.append(_too_many(extra, user, token))
    return findings or [ok(CHECK, f"{user}!{token} may do what the fleet needs, and nothing beyond Hearth's")]


def _has(privilege: Privilege, held: Held) -> bool:
    return held.get(privilege.name, False) if privilege.below else privilege.name in held


def _too_few(
    lacking: Collection[Privilege], needed: Collection[Privilege], user: str, token: str
) -> list[Finding]:
    by_path: dict[str, list[Privilege]] = defaultdict(list)
    for privilege in lacking:
        by_path[privilege.path].append(privilege)
    return [
        fail(
            CHECK,
            f"{user}!{token} lacks on {path}: " + ", ".join(f"{p.name} (to {p.why})" for p in missing),
            grant_commands(path, [p for p in needed if p.path == path], user, token),
        )
        for path, missing in sorted(by_path.items())
    ]


def grant_commands(path: str, privileges: Collection[Privilege], user: str, token: str) -> str:
    """What root types on the node: a role with all that is needed on this path, for user and token.

    All, not only what is missing: an ACL entry on a path replaces what comes from above it (`man pveum`,
    Permission Management). A token with privilege separation has only what its user has too.
    """
    role = role_name(path)
    names = " ".join(sorted({privilege.name for privilege in privileges}))
    spread = int(any(privilege.below for privilege in privileges))
    return (
        f"pveum role add {role} --privs '{names}' || pveum role modify {role} --privs '{names}'; "
        f"pveum acl modify {path} --propagate {spread} --roles {role} "
        f"--users {user} --tokens '{user}!{token}'"
    )


def role_name(path: str) -> str:
    """The role of a path: "HearthVms" for /vms, "HearthStorage-local" for /storage/local."""
    first, *rest = path.strip("/").split("/")
    return "-".join([f"Hearth{first.capitalize() or 'Root'}", *rest[-1:]])


def _too_many(extra: Collection[str], user: str, token: str) -> Finding:
    text = f"{user}!{token} may do what Hearth never does: {', '.join(extra)}"
    if user == "root@pam":
        remedy = (
            "make a user of Hearth's own: pveum user add hearth@pve && "
            "pveum user token add hearth@pve deploy; with its token, hearth doctor names the roles"
        )
    else:
        remedy = (
            f"pveum acl list | grep {user} shows where from; take a role away with "
            f"pveum acl delete PATH --roles ROLE --users {user} --tokens '{user}!{token}'"
        )
    return warn(CHECK, text, remedy)

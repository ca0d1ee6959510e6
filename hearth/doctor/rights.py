"""Judges what the API token may do: too little, and too much. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from hearth.doctor.finding import Finding, fail, ok, warn
from hearth.proxmox.privileges import Privilege, grants

Held = Mapping[str, bool]  # privilege -> it holds below the path too
CHECK = "token"


def judge_rights(
    needed: Collection[Privilege],
    held: Mapping[str, Held],
    everywhere: Mapping[str, Held],
    user: str,
    token: str,
) -> list[Finding]:
    """Compare what the token may do with what the fleet needs: no less, and no more.

    Args:
        needed: see `hearth.proxmox.privileges.needed`.
        held: for each path of `needed`, what GET /access/permissions?path= says.
        everywhere: what GET /access/permissions says, path by path.
        user: "hearth@pve".
        token: its name, "deploy".
    """
    lacking = [privilege for privilege in needed if not _has(privilege, held.get(privilege.path, {}))]
    findings = _too_few(lacking, needed, user, token)
    findings += [_too_many(path, extra, user, token) for path, extra in beyond(needed, everywhere).items()]
    return findings or [ok(CHECK, f"{user}!{token} may do what the fleet needs, and nothing else")]


def beyond(needed: Collection[Privilege], everywhere: Mapping[str, Held]) -> dict[str, dict[str, bool]]:
    """What is held and not needed: path -> privilege -> whether only its reach below the path is too much.

    Named where it comes from, not again on the paths below.

    Args:
        needed: what the fleet needs.
        everywhere: what is held, on every path that any ACL entry, or any pool's member, has.
    """
    spreading = [grant.path for grant in grants(needed) if grant.below]
    found: dict[str, dict[str, bool]] = {}
    reaching: set[tuple[str, str]] = set()
    for path in sorted(everywhere, key=lambda path: (path.count("/"), len(path), path)):
        for name, spread in sorted(everywhere[path].items()):
            if _from_a_pool(path, name) or any((above, name) in reaching for above in _above(path)):
                continue
            here = any(p.name == name and _covers(p, path) for p in needed)
            too_far = spread and not any(_below(path, above) for above in spreading)
            if here and not too_far:
                continue
            found.setdefault(path, {})[name] = here
            if spread:
                reaching.add((path, name))
    return found


def _covers(privilege: Privilege, path: str) -> bool:
    return privilege.path == path or (privilege.below and _below(path, privilege.path))


def _below(path: str, above: str) -> bool:
    return path == above or above in _above(path)


def _above(path: str) -> list[str]:
    """The paths that an entry reaches this one from, "/" first."""
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[:n]) for n in range(1, len(parts)))] if parts else []


def _from_a_pool(path: str, name: str) -> bool:
    """A pool's role shows on its members too, where its privileges allow nothing."""
    return name.startswith("Pool.") and path.startswith(("/vms/", "/storage/"))


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
    (grant,) = grants([privilege for privilege in privileges if privilege.path == path])
    names = " ".join(sorted(grant.privileges))
    return (
        f"pveum role add {grant.role} --privs '{names}' || pveum role modify {grant.role} --privs '{names}'; "
        f"pveum acl modify {path} --propagate {int(grant.below)} --roles {grant.role} "
        f"--users {user} --tokens '{user}!{token}'"
    )


def _too_many(path: str, extra: Mapping[str, bool], user: str, token: str) -> Finding:
    said = [f"{name} on all below it" if needed else name for name, needed in sorted(extra.items())]
    text = f"{user}!{token} may do on {path} what this fleet does not need: {', '.join(said)}"
    if user == "root@pam":
        remedy = "give Hearth a user of its own: python bootstrap.py"
    else:
        remedy = (
            f"python bootstrap.py mends Hearth's own roles; from others: pveum acl list | grep {user} "
            f"shows where from, pveum acl delete {path} --roles ROLE --users {user} --tokens '{user}!{token}'"
        )
    return warn(CHECK, text, remedy)

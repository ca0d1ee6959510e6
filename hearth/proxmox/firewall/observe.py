"""What a cluster's firewall holds: GETs only, in parallel.

A declared constant (see `COUNT`): six for the cluster, two for each node, one for each set and each group of
ours; and two for each guest that is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hearth.proxmox.api import Api
from hearth.proxmox.firewall.desired import LOCAL
from hearth.proxmox.firewall.model import (
    CLUSTER,
    OPTION_KEYS,
    Entry,
    Rule,
    Seen,
    Wall,
    group_scope,
    is_ours,
    node_scope,
)

COUNT = {"cluster": 6, "node": 2, "set": 1, "group": 1, "guest": 2}
ROOT = "/cluster/firewall"
WORKERS = 8


def observe(
    api: Api, nodes: Sequence[str], guests: Mapping[str, str], wanted: Wall, saved: Wall | None = None
) -> Seen:
    """Everything that Hearth keeps in a cluster's firewall.

    Args:
        api: of one of its nodes.
        nodes: names of the fleet's nodes in it.
        guests: scope -> `/nodes/NODE/lxc/VMID` of the guests that are there.
        wanted: sets and groups of these names are read although nothing marks them.
        saved: likewise.

    Raises:
        ApiError: something could not be read.
    """
    reader = _Reader(api)
    paths = {CLUSTER: ROOT, **{node_scope(node): f"/nodes/{node}/firewall" for node in nodes}}
    paths |= {scope: f"{path}/firewall" for scope, path in guests.items()}
    options = reader.all({scope: f"{path}/options" for scope, path in paths.items()})
    named = reader.all({kind: f"{ROOT}/{kind}" for kind in ("ipset", "groups", "aliases")})
    known = [wanted, *([saved] if saved else [])]
    sets = _ours(named["ipset"], "name", {name for wall in known for name in wall.sets})
    groups = _ours(named["groups"], "group", {_group(s) for wall in known for s in wall.rules if _group(s)})
    paths |= {group_scope(name): f"{ROOT}/groups/{name}" for name in groups}
    entries = reader.all({name: f"{ROOT}/ipset/{name}" for name in sets})
    rules = reader.all({scope: rules_path(scope, path) for scope, path in paths.items()})
    aliases = {str(row["name"]): str(row["cidr"]) for row in named["aliases"] or [] if _is(row)}
    wall = Wall(
        sets={name: frozenset(_entry(row) for row in rows if _is(row)) for name, rows in entries.items()},
        rules={scope: tuple(Rule.of(row) for row in rows if _is(row)) for scope, rows in rules.items()},
        options={scope: _kept(scope, found) for scope, found in options.items()},
        aliases=aliases,
    )
    return Seen(
        wall,
        int(options[CLUSTER].get("enable") or 0),
        paths,
        (*_foreign_parts(entries, rules), *_foreign_names(named, {*sets, *groups})),
        _shared(named, entries, rules),
        frozenset((name, _entry(row).cidr) for name, rows in entries.items() for row in rows if not _is(row)),
        loop=len(nodes) > 1 or any(_by_daemon(options[node_scope(node)]) for node in nodes),
    )


def _by_daemon(options: Mapping[str, Any]) -> bool:
    # proxmox-firewall (nftables) applies in a loop of its own; a write does not wait for it.
    return str(options.get("nftables", "0")) == "1"


def rules_path(scope: str, path: str) -> str:
    """Where a scope's rules are: a group is itself the list."""
    return path if _group(scope) else f"{path}/rules"


class _Reader:
    def __init__(self, api: Api) -> None:
        self._api = api

    def all(self, paths: Mapping[str, str]) -> dict[str, Any]:
        """Several GETs at a time; the first error counts."""
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            return dict(zip(paths, pool.map(self._api.get, paths.values()), strict=True))


def _ours(rows: Iterable[Mapping[str, Any]] | None, key: str, wanted: set[str]) -> tuple[str, ...]:
    return tuple(
        str(row[key]) for row in rows or [] if is_ours(row.get("comment")) or str(row[key]) in wanted
    )


def _group(scope: str) -> str:
    kind, _, name = scope.partition("/")
    return name if kind == "group" else ""


def _is(row: Mapping[str, Any]) -> bool:
    return is_ours(row.get("comment"))


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(str(row["cidr"]), str(row.get("nomatch") or "0") == "1")


def _kept(scope: str, found: Mapping[str, Any]) -> dict[str, str]:
    keys = OPTION_KEYS[scope.partition("/")[0]]
    return {key: str(found[key]) for key in keys if found.get(key) is not None}


def _shared(named: Mapping[str, Any], entries: Mapping[str, Any], rules: Mapping[str, Any]) -> frozenset[str]:
    """Sets, groups and aliases that we did not make, or in which somebody else has something."""
    made = {str(row["name"]) for row in named["ipset"] or [] if _is(row)}
    grouped = {group_scope(str(row["group"])) for row in named["groups"] or [] if _is(row)}
    sets = {name for name, rows in entries.items() if name not in made or not all(map(_is, rows))}
    groups = {
        scope
        for scope, rows in rules.items()
        if _group(scope) and (scope not in grouped or not all(map(_is, rows)))
    }
    aliases = {f"alias/{row['name']}" for row in named["aliases"] or [] if not _is(row)}
    return frozenset(sets | groups | aliases)


def _foreign_parts(entries: Mapping[str, Any], rules: Mapping[str, Any]) -> Iterable[str]:
    """Words about what is not ours in what is."""
    for scope, rows in sorted(rules.items()):
        yield from (f"{scope}: rule {Rule.of(row)}" for row in rows if not _is(row))
    for name, rows in sorted(entries.items()):
        yield from (f"set {name}: {_entry(row)}" for row in rows if not _is(row))


def _foreign_names(named: Mapping[str, Any], read: Collection[str]) -> Iterable[str]:
    """Words about sets, groups and aliases that are not ours."""
    yield from (f"set {row['name']}" for row in named["ipset"] or [] if str(row["name"]) not in read)
    yield from (f"group {row['group']}" for row in named["groups"] or [] if str(row["group"]) not in read)
    for row in named["aliases"] or []:
        if not _is(row):
            wide = ": nodes answer to it too" if row["name"] == LOCAL else ""
            yield f"alias {row['name']} {row['cidr']}{wide}"

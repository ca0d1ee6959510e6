"""Write a fleet file from a home that runs: GETs only, and adopting what it says changes nothing but the tag.

Every guest becomes an appliance: nothing inside it is ours until the admin says so. What the file cannot say
without changing something stays out, with a comment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from hearth.errors import HearthError
from hearth.proxmox import observe
from hearth.proxmox.api import Api
from hearth.proxmox.imported import Draft, draft
from hearth.proxmox.imported_networks import Networks
from hearth.proxmox.observe import Config, Seen
from hearth.proxmox.properties import flag

HEADER = """\
# The home as it is, written by `hearth import`. Adopting a guest (--data adopt=NAME) adds the tag `hearth`
# and changes nothing else. Every guest is an appliance at first: Hearth keeps its hardware as this file says,
# and leaves alone what is inside. To let Hearth set a guest up inside, remove `appliance` and give it roles.
"""


WIDTH = 100  # characters of a line
FIRST = ("kind", "node", "vmid", "appliance", "network", "address", "address6", "mac")


@dataclass
class _Found:
    """What was read of all nodes."""

    guests: list[tuple[Seen, Config]] = field(default_factory=list)
    pools: dict[int, str] = field(default_factory=dict)


def import_fleet(api: Api, nodes: Sequence[str] | None = None) -> str:
    """The text of a fleet file that describes a live node or cluster.

    Args:
        api: an endpoint; only GETs are sent.
        nodes: names of the nodes to read; None: every node that is online.

    Raises:
        HearthError: there is nothing to read, or it cannot be read.
    """
    names = list(nodes) if nodes is not None else sorted(observe.free_memory(api))
    if not names:
        raise HearthError(f"import from {api.endpoint}", "no node is online", "may the token see them?")
    addresses = _addresses(api)
    found = _Found(pools=_pools(api))
    for name in names:
        view = observe.observe(api, name)
        found.guests += [(seen, observe.read_config(api, seen)) for seen in view.guests]
    networks = Networks(taken=set(addresses.values()))
    drafts = _drafts(found, names, networks)
    sections: dict[str, Any] = {"nodes": {name: _node(api, name, addresses) for name in names}}
    if networks.sections():
        sections["networks"] = networks.sections()
    return "\n".join([HEADER, *(_section(key, value) for key, value in sections.items()), _guests(drafts)])


def _drafts(found: _Found, nodes: Sequence[str], networks: Networks) -> list[Draft]:
    taken = {*nodes}
    drafts = []
    # Guests with a fixed address first: they say what the networks are; the others fit in.
    for seen, config in found.guests:
        made = draft(seen, config, found.pools.get(seen.vmid), taken)
        if not made.left_out:
            taken.add(made.name)
        drafts.append(made)
    for made in sorted(drafts, key=lambda item: "address" not in item.network):
        networks.join(made)
    return drafts


def _addresses(api: Api) -> dict[str, str]:
    rows = api.get("/cluster/status") or []
    return {str(row["name"]): str(row["ip"]) for row in rows if row.get("type") == "node" and row.get("ip")}


def _node(api: Api, name: str, addresses: Mapping[str, str]) -> dict[str, Any]:
    if name not in addresses:
        raise HearthError(
            f"import node {name}", "Proxmox does not say its address", "see /etc/hosts on the node"
        )
    stores = [row for row in api.get(f"/nodes/{name}/storage") or [] if flag(row.get("active", 1))]
    return {
        "address": addresses[name],
        "storage": _storage(stores, ("images", "rootdir")),
        "images": _storage(stores, ("vztmpl", "import")),
    }


def _storage(stores: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> str:
    """The storage that takes most of these contents; `local` where none takes any."""

    def fit(row: Mapping[str, Any]) -> int:
        return len(set(wanted) & set(str(row.get("content", "")).split(",")))

    best = max(sorted(stores, key=lambda row: str(row["storage"])), key=fit, default=None)
    return str(best["storage"]) if best is not None and fit(best) else "local"


def _pools(api: Api) -> dict[int, str]:
    names = [str(row["poolid"]) for row in api.get("/pools") or []]
    return observe.pools(api, names)


def _guests(drafts: Sequence[Draft]) -> str:
    blocks = []
    for made in drafts:
        comments = "".join(f"  # {line}\n" for text in made.comments for line in text.splitlines())
        body = "" if made.left_out else _entry(made.name, _in_order(made.fields))
        blocks.append(comments + body)
    empty = all(made.left_out for made in drafts)
    return ("guests: {}\n" if empty else "guests:\n") + "\n".join(blocks)


def _in_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Who and where first."""
    first = [key for key in FIRST if key in fields]
    return {key: fields[key] for key in [*first, *(key for key in fields if key not in first)]}


def _section(key: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{key}:\n" + "".join(_entry(name, fields) for name, fields in entries.items())


def _entry(name: str, fields: Mapping[str, Any]) -> str:
    """One entry of a section: a line for each field, what is nested in one line each where it is short."""
    lines = "".join(_yaml({key: value}) for key, value in fields.items())
    return f"  {_yaml({name: 0}).removesuffix(' 0' + chr(10))}\n{_indented(lines, 4)}"


def _yaml(value: Mapping[str, Any]) -> str:
    nested = isinstance(next(iter(value.values())), dict | list)
    style = None if nested else False
    return yaml.safe_dump(
        dict(value), sort_keys=False, default_flow_style=style, allow_unicode=True, width=WIDTH
    )


def _indented(text: str, by: int) -> str:
    return "".join(" " * by + line if line.strip() else line for line in text.splitlines(keepends=True))

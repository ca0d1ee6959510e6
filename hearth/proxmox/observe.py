"""What is there: two GETs for a node, one for each guest of ours.

Existence and status come from the node's own lists: /cluster/resources lags by seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hearth.errors import HearthError
from hearth.fleet.model import Kind
from hearth.proxmox import properties
from hearth.proxmox.api import Api

PATHS: dict[Kind, str] = {"lxc": "lxc", "vm": "qemu"}
NAME_KEYS: dict[Kind, str] = {"lxc": "hostname", "vm": "name"}


@dataclass(frozen=True)
class Seen:
    """A guest as the node lists it; `lock` is empty where there is none."""

    vmid: int
    kind: Kind
    node: str
    name: str
    status: Literal["running", "stopped"]
    tags: tuple[str, ...] = ()
    lock: str = ""
    template: bool = False

    @property
    def path(self) -> str:
        """Its place in the API."""
        return f"/nodes/{self.node}/{PATHS[self.kind]}/{self.vmid}"


@dataclass(frozen=True)
class NodeView:
    """The guests of one node."""

    node: str
    guests: tuple[Seen, ...]

    def find(self, vmid: int) -> Seen | None:
        """The guest of this VMID, or None."""
        return next((seen for seen in self.guests if seen.vmid == vmid), None)


@dataclass(frozen=True)
class Config:
    """A guest's configuration.

    `values` is what runs, `pending` what waits for a restart, `deletes` keys that a restart removes.
    `digest` makes a write fail when somebody else was quicker.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    pending: Mapping[str, Any] = field(default_factory=dict)
    deletes: frozenset[str] = frozenset()
    digest: str | None = None

    def next(self, key: str) -> Any:
        """What the key will be after a restart; None where it is not set."""
        if key in self.pending:
            return self.pending[key]
        return None if key in self.deletes else self.values.get(key)

    @property
    def keys(self) -> frozenset[str]:
        """Every key that is set now or will be."""
        return frozenset(self.values) | frozenset(self.pending)


def observe(api: Api, node: str, ours: Collection[int] = (), patience: float = 300.0) -> NodeView:
    """The guests of a node, with two GETs.

    While one of `ours` is being created, its name and tags are missing (a rerun after a kill would take it
    for a stranger's): then the node's active create task is waited for first.

    Args:
        api: an endpoint that knows the node. node: its name in Proxmox.
        ours: VMIDs of the fleet. patience: seconds to wait for such a task.

    Raises:
        ApiError: the node cannot be asked.
    """
    view = _list(api, node)
    waiting = [seen for seen in view.guests if seen.lock == "create" and seen.vmid in ours]
    if not waiting:
        return view
    for seen in waiting:
        wait_for_tasks(api, seen, patience)
    return _list(api, node)


def wait_for_tasks(api: Api, seen: Seen, patience: float) -> None:
    """Wait for the tasks that work on a guest; how they end does not matter here."""
    for task in api.get(f"/nodes/{seen.node}/tasks", source="active", vmid=seen.vmid) or []:
        if task.get("endtime") is None and str(task.get("id")) == str(seen.vmid):
            try:
                api.wait(task["upid"], f"wait for {task.get('type')} of {seen.vmid}", patience)
            except HearthError:
                continue


def look(api: Api, node: str, kind: Kind, vmid: int) -> Seen | None:
    """One guest as it is now (one GET); None where there is none of this kind on this node."""
    rows = api.get(f"/nodes/{node}/{PATHS[kind]}") or []
    return next((seen for seen in (_seen(row, kind, node) for row in rows) if seen.vmid == vmid), None)


def read_config(api: Api, seen: Seen) -> Config:
    """A guest's configuration, what is pending, and its digest, with one GET."""
    return parse_pending(api.get(f"{seen.path}/pending") or [])


def parse_pending(rows: Collection[Mapping[str, Any]]) -> Config:
    """The rows of GET .../pending: {key, value, pending, delete}; the digest is a row of its own."""
    values: dict[str, Any] = {}
    pending: dict[str, Any] = {}
    deletes: set[str] = set()
    for row in rows:
        key = str(row["key"])
        if "value" in row:
            values[key] = row["value"]
        if "pending" in row:
            pending[key] = row["pending"]
        elif row.get("delete"):
            deletes.add(key)
    digest = values.pop("digest", None)
    return Config(values, pending, frozenset(deletes), None if digest is None else str(digest))


def pools(api: Api, names: Collection[str]) -> dict[int, str]:
    """Which guests are in these pools: VMID -> pool. One GET for each name.

    Raises:
        HearthError: there is no such pool.
    """
    members: dict[int, str] = {}
    for name in sorted(set(names)):
        try:
            found = api.get(f"/pools/{name}")
        except HearthError as error:
            known = "does not exist" not in error.reason
            remedy = error.remedy if known else f"make it on the node: pvesh create /pools --poolid {name}"
            raise HearthError(f"use pool {name}", error.reason, remedy) from error
        members |= {int(row["vmid"]): name for row in found.get("members", []) if "vmid" in row}
    return members


def free_memory(api: Api) -> dict[str, int]:
    """MiB of free memory of each node that is online: GET /nodes."""
    rows = api.get("/nodes") or []
    return {
        str(row["node"]): (int(row.get("maxmem") or 0) - int(row.get("mem") or 0)) // 1024**2
        for row in rows
        if row.get("status") == "online"
    }


def _list(api: Api, node: str) -> NodeView:
    kinds: tuple[Kind, ...] = ("lxc", "vm")
    guests = [
        _seen(row, kind, node) for kind in kinds for row in api.get(f"/nodes/{node}/{PATHS[kind]}") or []
    ]
    return NodeView(node, tuple(sorted(guests, key=lambda seen: seen.vmid)))


def _seen(row: Mapping[str, Any], kind: Kind, node: str) -> Seen:
    return Seen(
        vmid=int(row["vmid"]),
        kind=kind,
        node=node,
        name=str(row.get("name") or ""),
        status="running" if row.get("status") == "running" else "stopped",
        tags=properties.tags(row.get("tags")),
        lock=str(row.get("lock") or ""),
        template=properties.flag(row.get("template")),
    )

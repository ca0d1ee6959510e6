"""Guests, configurations and views made by hand, for the pure decisions."""

from __future__ import annotations

from typing import Any

from hearth.fleet.model import Fleet, Guest, Image, Network, Node
from hearth.proxmox.observe import Config, NodeView, Seen
from hearth.proxmox.plan import GuestPlan, Intent, plan_guest

LXC = {
    "hostname": "comms",
    "cores": 1,
    "memory": 512,
    "swap": 512,
    "rootfs": "local-lvm:vm-135-disk-0,size=8G",
    "net0": "name=eth0,bridge=vmbr0,gw=192.168.1.1,hwaddr=02:48:00:00:00:87,ip=192.168.1.135/24,type=veth",
    "tags": "hearth",
    "unprivileged": 1,
    "features": "nesting=1",
    "onboot": 1,
}
VM = {
    "name": "comms",
    "cores": 1,
    "memory": "512",
    "scsi0": "local-lvm:vm-135-disk-0,discard=on,size=8G",
    "ide2": "local-lvm:vm-135-cloudinit,media=cdrom",
    "boot": "order=scsi0",
    "net0": "virtio=02:48:00:00:00:87,bridge=vmbr0",
    "ipconfig0": "gw=192.168.1.1,ip=192.168.1.135/24",
    "tags": "hearth",
    "onboot": 1,
}


def guest(kind: str = "lxc", **fields: Any) -> Guest:
    """A guest for which LXC or VM above is exactly right."""
    known: dict[str, Any] = {
        "name": "comms",
        "kind": kind,
        "node": "pve",
        "vmid": 135,
        "network": "lan",
        "address": "192.168.1.135",
        "mac": "02:48:00:00:00:87",
        "cores": 1,
        "memory": 512,
        "disk": 8192,
        "onboot": True,
        "image": "image",
    }
    if kind == "lxc":
        known |= {"swap": 512, "unprivileged": True, "features": {"nesting": True}}
    return Guest(**(known | fields))


def fleet(*guests: Guest, **network: Any) -> Fleet:
    """Two nodes, one network."""
    nodes = tuple(
        Node(
            name=name, address="192.168.1.185", endpoint="https://x:8006", storage="local-lvm", images="local"
        )
        for name in ("pve", "pve2")
    )
    lan = {"bridge": "vmbr0", "subnet": "192.168.1.0/24", "gateway": "192.168.1.1", **network}
    kind = guests[0].kind if guests else "lxc"
    image = Image(name="image", kind=kind, url="https://images.example/debian.tar.zst")
    return Fleet(nodes=nodes, networks=(Network(name="lan", **lan),), images=(image,), guests=guests)


def seen(kind: Any = "lxc", **fields: Any) -> Seen:
    """The guest as the node lists it: running and ours."""
    known: dict[str, Any] = {
        "vmid": 135,
        "kind": kind,
        "node": "pve",
        "name": "comms",
        "status": "running",
        "tags": ("hearth",),
    }
    return Seen(**(known | fields))


def plan(
    wanted: Guest, values: dict[str, Any], pending: dict[str, Any] | None = None, **options: Any
) -> GuestPlan:
    """The plan of a guest that is there with this configuration."""
    network = options.pop("network", {})
    deletes = frozenset(options.pop("deletes", ()))
    named = {key: options.pop(key) for key in ("adopt", "replace") if key in options}
    pools = options.pop("pools", None)
    there = seen(wanted.kind, **options)
    intent = Intent(wanted, fleet(wanted, **network), "pve", **named)
    config = Config(values, pending or {}, deletes, "d")
    return plan_guest(intent, [NodeView(there.node, (there,))], config, pools)


def words(made: GuestPlan) -> list[str]:
    """Its changes as the admin reads them."""
    return [str(change) for change in made.changes]

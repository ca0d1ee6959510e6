"""The privileges that Hearth's token needs, each with its path and its reason.

Sources: the `permissions` of each API method (https://pve.proxmox.com/pve-docs/api-viewer/), and what
is checked by value in PVE::API2::Qemu (check_vm_modify_config_perm, check_storage_access), PVE::LXC
(check_ct_modify_config_perm) and PVE::API2::LXC (create_vm).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hearth.fleet.model import Fleet, Guest, Node

_GUESTS = (
    ("VM.Audit", "see which guests there are"),
    ("VM.Allocate", "create and destroy guests"),
    ("VM.PowerMgmt", "start, stop and restart guests"),
    ("VM.Config.CPU", "set cores"),
    ("VM.Config.Memory", "set memory and swap"),
    ("VM.Config.Disk", "add and grow disks and mount points"),
    ("VM.Config.Network", "set bridges and addresses"),
    ("VM.Config.Options", "set names, tags, descriptions, start at boot"),
)
_MACHINES = (
    ("VM.Config.HWType", "set a VM's SCSI controller and display"),
    ("VM.Config.CDROM", "attach a VM's cloud-init drive"),
    ("VM.Config.Cloudinit", "give a new VM its keys and address"),
)
# Never needed yet, and no reason to worry: they read, or back up and restore guests.
_HARMLESS = (
    "Datastore.Audit",
    "Mapping.Audit",
    "Pool.Audit",
    "SDN.Audit",
    "Sys.Audit",
    "Sys.Syslog",
    "VM.Backup",
    "VM.Clone",
    "VM.GuestAgent.Audit",
    "VM.Monitor",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
)
_ELSEWHERE = (
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Pool.Allocate",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Modify",
)
# What the token may have without a warning: what some fleet needs, so that a fleet may change.
UNREMARKABLE = frozenset({name for name, _ in (*_GUESTS, *_MACHINES)} | {*_HARMLESS, *_ELSEWHERE})


@dataclass(frozen=True, order=True)
class Privilege:
    """One privilege on one ACL path.

    Args:
        path: e.g. "/storage/local".
        name: e.g. "Datastore.Audit".
        why: what Hearth does with it.
        below: it must also hold on the paths below (the ACL entry propagates).
    """

    path: str
    name: str
    why: str
    below: bool = False


def needed(fleet: Fleet, firewall: bool = False) -> tuple[Privilege, ...]:
    """Every privilege that this fleet needs and no other, sorted by path and name.

    Args:
        fleet: the fleet.
        firewall: Hearth keeps the Proxmox firewall of this fleet.
    """
    found = [Privilege("/vms", name, why, below=True) for name, why in _GUESTS]
    if any(guest.kind == "vm" for guest in fleet.guests):
        found += [Privilege("/vms", name, why, below=True) for name, why in _MACHINES]
    found += _on_root(fleet.guests, firewall)
    for node in fleet.nodes:
        found += _on_node(node)
        if firewall:
            found.append(Privilege(f"/nodes/{node.name}", "Sys.Modify", "keep the node's firewall"))
    for storage in guest_storages(fleet):
        found.append(Privilege(f"/storage/{storage}", "Datastore.AllocateSpace", "make guests' disks"))
        found.append(Privilege(f"/storage/{storage}", "Datastore.Audit", "see its free space"))
    for bridge in {network.bridge for network in fleet.networks}:
        # A VLAN is a path below the bridge: PVE::RPCEnvironment::check_sdn_bridge.
        path = f"/sdn/zones/localnetwork/{bridge}"
        found.append(Privilege(path, "SDN.Use", "attach guests to the bridge", below=True))
    for pool in {guest.pool for guest in fleet.guests if guest.pool}:
        found.append(Privilege(f"/pool/{pool}", "Pool.Allocate", "put guests into the pool"))
        found.append(Privilege(f"/pool/{pool}", "Pool.Audit", "see who is in the pool"))
    return tuple(sorted(set(found)))


def guest_storages(fleet: Fleet) -> tuple[str, ...]:
    """The storages that disks of the fleet's guests are made on, sorted."""
    named = {node.storage for node in fleet.nodes}
    named |= {guest.storage for guest in fleet.guests if guest.storage}
    named |= {mount.storage for guest in fleet.guests for mount in guest.mounts if mount.storage}
    named |= {disk.storage for guest in fleet.guests for disk in guest.disks if disk.storage}
    return tuple(sorted(named))


def _on_root(guests: Iterable[Guest], firewall: bool) -> list[Privilege]:
    reasons = []
    if any(guest.kind == "vm" and guest.startup for guest in guests):
        reasons.append("set a VM's start order")
    if any(guest.kind == "lxc" and guest.unprivileged is False for guest in guests):
        reasons.append("create a privileged container")
    if firewall:
        reasons.append("keep the cluster's firewall")
    audit = [Privilege("/", "Sys.Audit", "see the cluster's firewall and nodes")] if firewall else []
    return audit + ([Privilege("/", "Sys.Modify", " and ".join(reasons))] if reasons else [])


def _on_node(node: Node) -> list[Privilege]:
    return [
        Privilege(f"/nodes/{node.name}", "Sys.Audit", "see the node's state and clock"),
        Privilege(f"/nodes/{node.name}", "Sys.AccessNetwork", "let the node download images"),
        Privilege(f"/storage/{node.images}", "Datastore.Audit", "see which images there are"),
        Privilege(f"/storage/{node.images}", "Datastore.AllocateTemplate", "keep downloaded images"),
    ]

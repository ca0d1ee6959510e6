"""The privileges that Hearth's token needs, each with its path and its reason: these, and no other.

Sources: the `permissions` of each API method (https://pve.proxmox.com/pve-docs/api-viewer/), and what
is checked by value in PVE::API2::Qemu (check_vm_modify_config_perm, check_storage_access), PVE::LXC
(check_ct_modify_config_perm), PVE::API2::LXC (create_vm), PVE::Storage (check_volume_access) and
PVE::GuestHelpers (check_vnet_access).

Not here, although it seems so: VM.Config.CDROM and VM.Config.Cloudinit (a new VM's cloud-init drive needs
neither, and its settings need VM.Config.Cloudinit or VM.Config.Network), Datastore.Audit where there is
Datastore.AllocateSpace (either is enough to see a storage and what is on it).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hearth.fleet.model import AUTO, Fleet, Guest, Network, Node

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
_MACHINES = (("VM.Config.HWType", "set a VM's SCSI controller and display"),)
# A role of ours: see `role_name`.
_OUR_ROLE = re.compile(r"Hearth(?:Root|Vms|(?:Nodes|Storage|Sdn|Pool)-[\w.-]+)", re.ASCII)


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


@dataclass(frozen=True)
class Grant:
    """A role of ours on one ACL path: exactly what is needed there.

    Args:
        path: e.g. "/storage/local".
        role: its name, see `role_name`.
        privileges: what the role holds.
        below: the ACL entry propagates.
    """

    path: str
    role: str
    privileges: frozenset[str]
    below: bool


def needed(fleet: Fleet) -> tuple[Privilege, ...]:
    """Every privilege that this fleet needs and no other, sorted by path and name.

    Args:
        fleet: from the fleet file.
    """
    found = [Privilege("/vms", name, why, below=True) for name, why in _GUESTS]
    if any(guest.kind == "vm" for guest in fleet.guests):
        found += [Privilege("/vms", name, why, below=True) for name, why in _MACHINES]
    found += _on_root(fleet.guests)
    storages = guest_storages(fleet)
    for storage in storages:
        found.append(Privilege(f"/storage/{storage}", "Datastore.AllocateSpace", "make guests' disks"))
    modifies = fleet.firewall or fleet.backup is not None
    for node in fleet.nodes:
        found.append(Privilege(f"/nodes/{node.name}", "Sys.Audit", "see the node's state and clock"))
        if any(guest.image and guest.node in (node.name, AUTO) for guest in fleet.guests):
            found += _for_images(node, seen=node.images in storages, downloads=modifies)
    found += [_on_bridge(fleet.network(name)) for name in {guest.network for guest in fleet.guests} if name]
    for pool in {guest.pool for guest in fleet.guests if guest.pool}:
        found.append(Privilege(f"/pool/{pool}", "Pool.Allocate", "put guests into the pool"))
        found.append(Privilege(f"/pool/{pool}", "Pool.Audit", "see who is in the pool"))
    found += _for_firewall(fleet) if fleet.firewall else []
    return _each_once([*found, *_for_backups(fleet)])


def grants(privileges: Collection[Privilege]) -> tuple[Grant, ...]:
    """One role for each path, sorted: an ACL entry replaces what comes from above it (`man pveum`)."""
    found = []
    for path in sorted({privilege.path for privilege in privileges}):
        here = [privilege for privilege in privileges if privilege.path == path]
        names = frozenset(privilege.name for privilege in here)
        found.append(Grant(path, role_name(path), names, any(privilege.below for privilege in here)))
    return tuple(found)


def role_name(path: str) -> str:
    """The role of a path: "HearthVms" for /vms, "HearthStorage-local" for /storage/local.

    A bridge's VLAN, /sdn/zones/localnetwork/vmbr0/20, gives "HearthSdn-vmbr0.20".
    """
    first, *rest = path.strip("/").split("/")
    last = ".".join(rest[2:] if first == "sdn" else rest)
    return "-".join([f"Hearth{first.capitalize() or 'Root'}", *([last] if last else [])])


def is_our_role(name: str) -> bool:
    """Whether a role has a name that `role_name` gives."""
    return _OUR_ROLE.fullmatch(name) is not None


def guest_storages(fleet: Fleet) -> tuple[str, ...]:
    """The storages that disks of the fleet's guests are made on, sorted."""
    named = {node.storage for node in fleet.nodes}
    named |= {guest.storage for guest in fleet.guests if guest.storage}
    named |= {mount.storage for guest in fleet.guests for mount in guest.mounts if mount.storage}
    named |= {disk.storage for guest in fleet.guests for disk in guest.disks if disk.storage}
    return tuple(sorted(named))


def _on_root(guests: Iterable[Guest]) -> list[Privilege]:
    reasons = []
    if any(guest.kind == "vm" and guest.startup for guest in guests):
        reasons.append("set a VM's start order")
    if any(guest.kind == "lxc" and guest.unprivileged is False for guest in guests):
        reasons.append("create a privileged container")
    return [Privilege("/", "Sys.Modify", " and ".join(reasons))] if reasons else []


def _for_images(node: Node, seen: bool, downloads: bool) -> list[Privilege]:
    """Templates and cloud images.

    Args:
        node: where guests are made from images.
        seen: the storage of images is seen by what else is needed on it.
        downloads: whoever may set the datacenter's firewall may let a node download too.
    """
    storage = f"/storage/{node.images}"
    found = [Privilege(storage, "Datastore.AllocateTemplate", "keep downloaded images")]
    if not seen:
        found.append(Privilege(storage, "Datastore.Audit", "see and use the images there"))
    if not downloads:
        found.append(Privilege(f"/nodes/{node.name}", "Sys.AccessNetwork", "let the node download images"))
    return found


def _on_bridge(network: Network) -> Privilege:
    """A VLAN is a path below its bridge; with a VLAN nothing on the bridge itself is asked for."""
    path = f"/sdn/zones/localnetwork/{network.bridge}"
    if network.vlan is not None:
        return Privilege(f"{path}/{network.vlan}", "SDN.Use", "attach guests to the VLAN")
    return Privilege(path, "SDN.Use", "attach guests to the bridge")


def _for_firewall(fleet: Fleet) -> list[Privilege]:
    """What /cluster/firewall, /nodes/N/firewall and /nodes/N/{lxc,qemu}/ID/firewall ask for.

    The guests' part, VM.Audit to read and VM.Config.Network to write, is needed anyway.
    """
    found = [
        Privilege("/", "Sys.Audit", "read the firewall of the datacenter"),
        Privilege("/", "Sys.Modify", "set the firewall of the datacenter"),
        Privilege("/vms", "VM.Audit", "read the firewall of guests", below=True),
        Privilege("/vms", "VM.Config.Network", "set the firewall of guests", below=True),
    ]
    for node in fleet.nodes:
        found.append(Privilege(f"/nodes/{node.name}", "Sys.Audit", "read the node's firewall"))
        found.append(Privilege(f"/nodes/{node.name}", "Sys.Modify", "set the node's firewall"))
    return found


def _for_backups(fleet: Fleet) -> list[Privilege]:
    """What /cluster/backup asks for (PVE::API2::Backup), and a restore from what its jobs have made.

    Datastore.Allocate on the storage opens its backups too (PVE::Storage::check_volume_access).
    """
    if fleet.backup is None:
        return []
    return [
        Privilege("/", "Sys.Audit", "read the backup jobs"),
        Privilege("/", "Sys.Modify", "set the backup jobs"),
        *(
            Privilege(f"/storage/{storage}", "Datastore.Allocate", "have jobs back up to it, and restore")
            for storage in sorted({job.storage for job in fleet.backup.jobs})
        ),
    ]


def _each_once(privileges: Iterable[Privilege]) -> tuple[Privilege, ...]:
    """Privileges that are needed for several reasons, each once with all of them."""
    found: dict[tuple[str, str], Privilege] = {}
    for new in privileges:
        old = found.setdefault((new.path, new.name), new)
        if new.why not in old.why:
            both = f"{old.why} and {new.why}"
            found[new.path, new.name] = Privilege(new.path, new.name, both, old.below or new.below)
    return tuple(sorted(found.values()))

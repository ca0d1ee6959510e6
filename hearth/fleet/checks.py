"""What must agree between guests, and between them and the rest of the file. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hearth.fleet.drafts import LXC_ONLY, VM_ONLY, Draft
from hearth.fleet.entries import GuestEntry, NetworkEntry
from hearth.fleet.mistakes import Place, Report, WrongError, nearest, quoted
from hearth.fleet.model import AUTO, Kind
from hearth.fleet.scalars import known, once
from hearth.fleet.sections import Sections, require
from hearth.role.declaration import Role

# What the root disk must hold: the unpacked Debian template is 0.5 GiB and roles install packages;
# Debian's cloud images have a virtual disk of 3 GiB, and a disk never shrinks.
LEAST_DISK: Mapping[Kind, tuple[int, str]] = {
    "lxc": (2048, "a container with roles needs 2 GiB"),
    "vm": (3072, "a cloud image's own disk is 3 GiB, and disks never shrink"),
}
# pyinfra's groups (inventory/__init__.py): a guest of such a name would make --limit ambiguous.
GROUPS = frozenset(
    {"all", "proxmox", "guests", "vms", "containers", "absent", "stopped", "running", "unmanaged"}
)
_UNIQUE = {"address": "address", "address6": "address", "vmid": "VMID", "mac": "MAC address"}
_SOME_ADDRESSES = 2  # more than these: a network and a broadcast address are set apart


def check(guests: Sequence[Draft], found: Sections, roles: Mapping[str, Role], report: Report) -> None:
    """Report every mistake of the guests that takes more than one key to see."""
    for guest in guests:
        _check_name(guest, found, report)
        _check_references(guest, found, report)
        _check_address(guest, found, report)
        _check_disk(guest, found, report)
        if guest.entry.kind is not None:
            given = {key for key in guest.entry.model_fields_set if guest.at(key)[0] == "guests"}
            only_for_kind(("guests", guest.name), guest.entry.kind, guest.entry, report, given)
    if not found.networks and not all(guest.entry.appliance for guest in guests):
        require(("networks",), None, report, "write the network: networks: {lan: {bridge: vmbr0, ...}}")
    _check_unique(guests, report)
    _check_needs(guests, roles, report)


def only_for_kind(
    place: Place, kind: Kind, entry: GuestEntry, report: Report, given: set[str] | None = None
) -> None:
    """Report keys that mean nothing for this kind of guest.

    Args:
        place: where the keys stand.
        kind: lxc or vm.
        entry: the keys.
        given: those of them to look at; None: all that are set.
    """
    other = VM_ONLY if kind == "lxc" else LXC_ONLY
    wanted = "a VM" if kind == "lxc" else "a container"
    for key in sorted((entry.model_fields_set if given is None else given) & other):
        report.add((*place, key), f"is for {wanted} only", "remove it here")


def _check_name(guest: Draft, found: Sections, report: Report) -> None:
    place = ("guests", guest.name)
    if guest.name in found.nodes:
        report.add(place, "is also the name of a node", "give the guest another name")
    elif guest.name in GROUPS:
        report.add(place, "is the name of a group of hosts", "give the guest another name")


def _reported(guest: Draft, key: str, report: Report, refuse: Callable[[], None]) -> None:
    try:
        refuse()
    except WrongError as failure:
        guest.wrong(key, report, failure.wrong, failure.right)


def _check_references(guest: Draft, found: Sections, report: Report) -> None:
    node, network, image = guest.entry.node, guest.entry.network, guest.entry.image
    if node is not None and not report.unsure(("nodes",)):
        _reported(guest, "node", report, lambda: known(node, {*found.nodes, AUTO}, "node"))
    if network is not None and not report.unsure(("networks",)):
        _reported(guest, "network", report, lambda: known(network, found.networks, "network"))
    if image is None or report.unsure(("images",)):
        return
    _reported(guest, "image", report, lambda: known(image, found.images, "image"))
    kind = found.images[image].kind if image in found.images else None
    if kind is not None and guest.entry.kind not in (None, kind):
        fitting = sorted(name for name, other in found.images.items() if other.kind == guest.entry.kind)
        right = f"write {' or '.join(fitting)}" if fitting else f"add an image of kind {guest.entry.kind}"
        guest.wrong(
            "image", report, f"{image} is of kind {kind}, the guest is of kind {guest.entry.kind}", right
        )


def check_lists(guest: Draft, roles: Mapping[str, Role], report: Report) -> None:
    """Report unknown roles and what stands twice in a list; to be asked before `base` is put first."""
    if guest.entry.appliance and guest.entry.roles:
        guest.wrong("roles", report, "an appliance has no roles", "remove roles, or appliance")
    else:
        for index, role in enumerate(guest.entry.roles):
            if role not in roles:
                wrong, right = f"there is no role {quoted(role)}", nearest(role, roles)
                report.add((*guest.place("roles"), index), wrong, right, at=(*guest.at("roles"), index))
    for key in ("roles", "tags", "devices"):
        values = getattr(guest.entry, key)
        _reported(guest, key, report, partial(once, list(values), f"the {key[:-1]}"))
    paths: dict[str, str] = {}
    for slot, mount in guest.entry.mounts.items():
        first = paths.setdefault(str(mount.path), slot)
        if first != slot:
            place = ("guests", guest.name, "mounts", slot)
            report.add((*place, "path"), f"is also the path of {first}", "write another path")


def _check_address(guest: Draft, found: Sections, report: Report) -> None:
    address = guest.entry.address
    if not guest.entry.appliance and not guest.unsure("address", report):
        if address is None:
            require(
                guest.place("address"), None, report, "write e.g. 192.168.1.135; only appliances do without"
            )
        elif address == "dhcp":
            guest.wrong(
                "address", report, "dhcp is for appliances", "write a fixed address: roles are reached by it"
            )
    network = found.networks.get(guest.entry.network or "", NetworkEntry())
    _check_inside(guest, "address", network.subnet, found, report)
    _check_inside(guest, "address6", network.subnet6, found, report)


def _check_inside(
    guest: Draft, key: str, subnet: IPv4Network | IPv6Network | None, found: Sections, report: Report
) -> None:
    """The address, where it is a fixed one, lies in its network and is nobody else's."""
    address = getattr(guest.entry, key)
    if not isinstance(address, IPv4Address | IPv6Address):
        return
    name = guest.entry.network
    wanted = "subnet" if key == "address" else "subnet6"
    taken = _taken(found)
    if address in taken:
        guest.wrong(key, report, f"{address} is {taken[address]}", "write an address of its own")
    elif name in found.networks and subnet is None:
        if not report.unsure(("networks", str(name), wanted)):
            guest.wrong(key, report, f"network {name} has no {wanted}", f"write networks.{name}.{wanted}")
    elif subnet is not None and address not in subnet:
        guest.wrong(
            key, report, f"{address} is outside {subnet}, the {wanted} of {name}", f"write one of {subnet}"
        )
    elif subnet is not None and subnet.num_addresses > _SOME_ADDRESSES and address in _edges(subnet):
        guest.wrong(
            key, report, f"{address} is the address of the network itself", f"write another of {subnet}"
        )


def _edges(subnet: IPv4Network | IPv6Network) -> tuple[IPv4Address | IPv6Address, ...]:
    """Network and broadcast address; in IPv6 only the first is special (RFC 4291, 2.6.1)."""
    first = subnet.network_address
    return (first, subnet.broadcast_address) if isinstance(subnet, IPv4Network) else (first,)


def _taken(found: Sections) -> dict[object, str]:
    """The addresses that no guest may have, and whose they are."""
    taken: dict[object, str] = {}
    for name, network in found.networks.items():
        taken |= {gateway: f"the gateway of {name}" for gateway in (network.gateway, network.gateway6)}
    taken |= {node.address: f"the address of node {name}" for name, node in found.nodes.items()}
    taken.pop(None, None)
    return taken


def _check_disk(guest: Draft, found: Sections, report: Report) -> None:
    entry = guest.entry
    if entry.disk is None:
        if entry.image is not None and not guest.unsure("disk", report):
            require(guest.place("disk"), None, report, 'write the size of its disk, e.g. "8 GiB"')
        return
    image = found.images.get(entry.image or "")
    if image is not None and image.disk is not None:
        least, why = image.disk, f"image {entry.image} needs {image.disk} MiB"
    elif entry.kind is not None and not entry.appliance:
        least, why = LEAST_DISK[entry.kind]
    else:
        return
    if entry.disk < least:
        guest.wrong("disk", report, f"{entry.disk} MiB is too small: {why}", f'write "{least} MiB" or more')


def _check_unique(guests: Sequence[Draft], report: Report) -> None:
    """No two guests share an address, a VMID or a MAC address."""
    for key, what in _UNIQUE.items():
        first: dict[object, Draft] = {}
        for guest in guests:
            value = getattr(guest.entry, key)
            if value in {None, "dhcp", "auto"}:
                continue
            other = first.setdefault(value, guest)
            if other is guest or _follows(key, guest, other):
                continue
            at = guest.at(key if key in guest.origin else "vmid")
            report.add(
                guest.place(key), f"the {what} {value} is also {other.name}'s", "every guest has its own", at
            )


def _follows(key: str, guest: Draft, other: Draft) -> bool:
    """True where both values are derived from something that is itself double, and reported as such."""
    if key == "mac":
        return all("mac" not in one.origin for one in (guest, other))
    derived = all(one.at(key)[-1] == "address" for one in (guest, other))
    return key == "vmid" and derived and guest.entry.address == other.entry.address


def _check_needs(guests: Sequence[Draft], roles: Mapping[str, Role], report: Report) -> None:
    """Every role's needs have a provider in the fleet."""
    present = {role for guest in guests for role in guest.entry.roles}
    told: set[tuple[str, str, str]] = set()
    for guest in guests:
        for role in guest.entry.roles:
            for need in roles[role].needs if role in roles else ():
                key = (role, need.role, need.port)
                if need.optional or need.role in present or key in told:
                    continue
                told.add(key)
                wrong = f"{role} needs {need.port} of {need.role}, which no guest has"
                guest.wrong("roles", report, wrong, f"add {need.role} to the roles of a guest")

"""Reads the guests: merges the defaults, fills in what follows from the rest, makes the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, cast

from hearth.fleet import checks, numbered
from hearth.fleet.addresses import label
from hearth.fleet.drafts import LXC_ONLY, VM_ONLY, Draft
from hearth.fleet.entries import MIN_VMID, DefaultsEntry, Entry, FileEntry, GuestEntry
from hearth.fleet.mac import mac_of
from hearth.fleet.mistakes import Place, Report
from hearth.fleet.model import AUTO, Disk, Features, Guest, Kind, Mount, Startup
from hearth.fleet.sections import Sections, check_name, entry, require
from hearth.role.declaration import Role

_OWN = {"vmid", "mac", "appliance"}  # of one guest alone, so never a default
_FOR_APPLIANCES = {"kind", "node"}  # an appliance takes only these from the defaults
_BASE = "base"
_TAILSCALE = "tailscale"


@dataclass(frozen=True)
class Layer:
    """Some guest keys and where they stand."""

    place: Place
    entry: GuestEntry


def drafts(top: FileEntry, found: Sections, roles: Mapping[str, Role], report: Report) -> list[Draft]:
    """All guests, defaults merged in, each checked by itself and all of them together."""
    layers = _defaults(top, report)
    merged_all = []
    for name, raw in (top.guests or {}).items():
        place: Place = ("guests", name)
        check_name(label, name, place, report)
        if not isinstance(raw, dict):
            report.add(place, "is no guest", "write keys below it: kind, address, roles, ...")
            continue
        for each, group, own in numbered.own_entries(name, raw, place, report):
            merged = _merged(each, own, layers, report, group)
            checks.check_lists(merged, roles, report)
            merged_all.append(merged)
    numbered.taken(top.guests or {}, report)
    everywhere = _followers(merged_all, roles)
    made = [_complete(merged, found, roles, everywhere, report) for merged in merged_all]
    checks.check(made, found, roles, report)
    return made


def _defaults(top: FileEntry, report: Report) -> dict[Kind | None, Layer]:
    common = entry(DefaultsEntry, top.defaults, ("defaults",), report)
    layers: dict[Kind | None, Layer] = {
        None: Layer(("defaults",), common),
        "lxc": Layer(("defaults", "lxc"), entry(GuestEntry, common.lxc, ("defaults", "lxc"), report)),
        "vm": Layer(("defaults", "vm"), entry(GuestEntry, common.vm, ("defaults", "vm"), report)),
    }
    for kind, layer in layers.items():
        given = layer.entry.model_fields_set
        for key in sorted(given & _OWN):
            report.add((*layer.place, key), "cannot be a default", "write it at the guest")
        for key in sorted(given & {"address", "address6"}):
            if not isinstance(getattr(layer.entry, key), str):
                report.add((*layer.place, key), "cannot be a default", "write it at the guest")
        if kind is not None:
            checks.only_for_kind(layer.place, kind, layer.entry, report)
            if layer.entry.kind not in (None, kind):
                report.add((*layer.place, "kind"), f"stands under defaults.{kind}", "remove it")
    return layers


def _merged(
    name: str,
    own: GuestEntry,
    layers: Mapping[Kind | None, Layer],
    report: Report,
    group: str | None = None,
) -> Draft:
    """The guest over the defaults of its kind over the common defaults.

    Features, start order, mounts and disks are merged key by key; everything else is replaced.
    """
    kind = own.kind or layers[None].entry.kind
    foreign = {"lxc": VM_ONLY, "vm": LXC_ONLY}.get(kind or "", frozenset())
    order = [layers[None], *([layers[kind]] if kind else []), Layer(("guests", name), own)]
    values: dict[str, Any] = {}
    origin: dict[str, Place] = {}
    for layer in order:
        keys = layer.entry.model_fields_set & GuestEntry.model_fields.keys()
        if layer.entry is not own:
            keys = (keys & _FOR_APPLIANCES) if own.appliance else keys - foreign - _OWN
            keys = {key for key in keys if not report.unsure(("guests", name, key))}  # meant otherwise
        for key in keys:
            values[key] = _over(values.get(key), getattr(layer.entry, key))
            origin[key] = (*layer.place, key)
    return Draft(name, GuestEntry.model_construct(**values), origin, group)


def _over(old: object, new: object) -> object:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **new}
    if isinstance(old, Entry) and isinstance(new, Entry):
        given = {key: getattr(part, key) for part in (old, new) for key in part.model_fields_set}
        return type(new).model_construct(**given)
    return new


def _complete(
    draft: Draft, found: Sections, roles: Mapping[str, Role], everywhere: Sequence[str], report: Report
) -> Draft:
    """Fill in node, network, VMID, MAC and the roles of every guest; report what nothing follows from."""
    given = draft.entry
    require(draft.place("kind"), given.kind, report, "write lxc or vm")
    values: dict[str, Any] = {
        "node": _node(draft, found, report),
        "network": _network(draft, found, report),
        "vmid": _vmid(draft, report),
        "tags": tuple(tag for tag in given.tags if tag != "hearth"),
    }
    if values["vmid"] is not None and given.mac is None:
        values["mac"] = mac_of(values["vmid"])
    if not given.appliance and _BASE in roles:
        first = (_BASE, *_joins(given, found, roles), *everywhere)
        values["roles"] = _with_companions((*first, *given.roles), roles)
    whole = {key: getattr(given, key) for key in given.model_fields_set} | values
    origin = {"vmid": draft.at("address"), **draft.origin}
    return replace(draft, entry=GuestEntry.model_construct(**whole), origin=origin)


def _joins(given: GuestEntry, found: Sections, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """The role that joins the tailnet, where there is one and the guest does not stay out of it."""
    joins = found.tailnet is not None and given.tailnet and _TAILSCALE in roles
    return (_TAILSCALE,) if joins else ()


def _followers(merged: Sequence[Draft], roles: Mapping[str, Role]) -> tuple[str, ...]:
    """The roles that every guest has because some guest has the role that they follow."""
    given = [role for draft in merged if not draft.entry.appliance for role in draft.entry.roles]
    there = _with_companions(given, roles)
    return tuple(name for name, role in roles.items() if role.follows and role.follows in there)


def _with_companions(given: Sequence[str], roles: Mapping[str, Role]) -> tuple[str, ...]:
    """The roles and those that they bring with them, each once."""
    found = list(dict.fromkeys(given))
    for name in found:  # grows on the way: a companion may bring others
        brought = roles[name].companions if name in roles else ()
        found += [role for role in brought if role in roles and role not in found]
    return tuple(found)


def _only(names: Mapping[str, object]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _node(draft: Draft, found: Sections, report: Report) -> str | None:
    given = draft.entry.node
    if given is None or (given == AUTO and len(found.nodes) == 1):
        given = _only(found.nodes)
    if found.nodes and not draft.unsure("node", report):
        require(draft.place("node"), given, report, "there are several nodes: write one, or auto")
    return given


def _network(draft: Draft, found: Sections, report: Report) -> str | None:
    given = draft.entry.network
    if given is not None or draft.entry.appliance:
        return given
    only = _only(found.networks)
    if found.networks and not draft.unsure("network", report):
        require(draft.place("network"), only, report, "there are several networks: write one")
    return only


def _vmid(draft: Draft, report: Report) -> int | None:
    given, address = draft.entry.vmid, draft.entry.address
    if given is not None or draft.unsure("vmid", report) or draft.unsure("address", report):
        return given
    if not isinstance(address, IPv4Address):
        if draft.entry.appliance:
            require(draft.place("vmid"), None, report, "write the VMID that Proxmox shows")
        return None  # a guest of ours needs an address, which is reported by itself
    octet = int(address) & 0xFF
    if octet < MIN_VMID:
        wrong = f"cannot be {octet}, the address's last number: Proxmox begins at {MIN_VMID}"
        report.add(draft.place("vmid"), wrong, f"set vmid, e.g. {octet + 1000}", at=draft.at("address"))
        return None
    return octet


def guests(made: list[Draft]) -> tuple[Guest, ...]:
    """The guests of a file without mistakes."""
    return tuple(_guest(draft) for draft in made)


def _guest(draft: Draft) -> Guest:
    given = draft.entry
    nested = {"features", "startup", "mounts", "disks"}
    plain = {key: getattr(given, key) for key in given.model_fields_set - nested}
    return Guest(
        name=draft.name,
        group=draft.group,
        features=Features(**given.features.model_dump()),
        startup=Startup(**given.startup.model_dump()) if given.startup else None,
        mounts=tuple(Mount(slot=slot, **mount.model_dump()) for slot, mount in given.mounts.items()),
        disks=tuple(
            Disk(slot=slot, size=cast(int, disk.size), storage=disk.storage)
            for slot, disk in given.disks.items()
        ),
        **plain,
    )

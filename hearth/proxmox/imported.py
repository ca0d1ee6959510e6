"""One guest as the fleet file would say it: pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hearth.fleet.checks import GROUPS
from hearth.proxmox import properties
from hearth.proxmox.compare_volumes import is_disk, root_slot, size_of
from hearth.proxmox.desired import TAG, TUN
from hearth.proxmox.observe import Config, Seen

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
FEATURES = ("nesting", "keyctl", "fuse", "mknod")
_PATH = re.compile(r"(?:/[^/,\x00-\x20]+)+")
GIB = 1024
LEAST_MEMORY = 16  # MiB


@dataclass
class Draft:
    """A guest of the file: its fields, what is to be said about it, and its network as it was found.

    `network` holds bridge, vlan, mtu, address, gateway, address6, gateway6, resolver, domain, mac as strings;
    empty where it has none that the file could say.
    """

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    network: dict[str, str] = field(default_factory=dict)
    left_out: bool = False


def draft(seen: Seen, config: Config, pool: str | None, taken: Collection[str]) -> Draft:
    """A guest's part of the file, without its network's name.

    Args:
        pool: the pool it is in. taken: names that are spoken for.
    """
    made = Draft(seen.name.lower())
    reason = _left_out(seen, taken)
    if reason:
        kind = "container" if seen.kind == "lxc" else "VM"
        made.left_out = True
        made.comments.append(
            f"{kind} {seen.vmid} ({seen.name or 'no name'}) on {seen.node} is left out: {reason}"
        )
        return made
    waiting = sorted({*config.pending, *config.deletes})
    if waiting:
        made.comments.append(f"{', '.join(waiting)}: left out, a change of it waits for a restart")
    settled = {key: value for key, value in config.values.items() if key not in waiting}
    made.fields = {"kind": seen.kind, "node": seen.node, "vmid": seen.vmid, "appliance": True}
    for key, value in _fields(seen, settled, made.comments):
        made.fields[key] = value
    if pool:
        made.fields["pool"] = pool
    made.network = _network(seen, settled, made.comments)
    return made


def _left_out(seen: Seen, taken: Collection[str]) -> str:
    if seen.template:
        return "a template"
    if seen.lock == "create":
        return "it is being made, or was never finished"
    if not LABEL.fullmatch(seen.name.lower()):
        return "its name is no DNS label (letters, digits, -); rename it in Proxmox and import again"
    if seen.name.lower() in taken:
        return "another guest or a node has this name; rename it in Proxmox and import again"
    if seen.name.lower() in GROUPS:
        return "a group of hosts has this name; rename it in Proxmox and import again"
    return ""


def _fields(seen: Seen, values: Mapping[str, Any], comments: list[str]) -> Iterator[tuple[str, Any]]:
    for key in ("cores", "memory", *(["swap"] if seen.kind == "lxc" else [])):
        number = str(values.get(key, "")).rpartition("=")[2]
        if number.isdigit() and (key != "memory" or int(number) >= LEAST_MEMORY):
            yield key, int(number) if key == "cores" else size(int(number))
    yield from _volumes(seen, values, comments)
    if seen.kind == "lxc":
        yield "unprivileged", properties.flag(values.get("unprivileged"))
        yield from _features(values)
        yield from _devices(values)
    elif any(re.fullmatch(r"usb\d+|hostpci\d+", key) for key in values):
        comments.append("its USB and PCI devices stay as they are: the file does not name them")
    tags = [tag for tag in properties.tags(values.get("tags")) if tag != TAG]
    if tags:
        yield "tags", tags
    yield "onboot", properties.flag(values.get("onboot"))
    yield "protection", properties.flag(values.get("protection"))
    parts = properties.parse(values.get("startup"), "order")
    known = {key: int(parts[key]) for key in ("order", "up", "down") if parts.get(key, "").isdigit()}
    if known:
        yield "startup", known
    text = str(values.get("description") or "").strip()
    if text:
        yield "description", text


def _volumes(seen: Seen, values: Mapping[str, Any], comments: list[str]) -> Iterator[tuple[str, Any]]:
    slot = "rootfs" if seen.kind == "lxc" else root_slot(Config(values))
    root = size_of(values.get(slot))
    if root:
        yield "disk", size(root)
    storage = properties.parse(values.get(slot), "volume").get("volume", "").partition(":")
    if storage[1] and not storage[0].startswith("/"):
        yield "storage", storage[0]
    if seen.kind == "lxc":
        mounts = {key: _mount(values[key]) for key in _slots(values, r"mp\d+")}
        _tell_odd(mounts, comments)
        if any(mounts.values()):
            yield "mounts", {key: mount for key, mount in mounts.items() if mount}
    else:
        drives = [
            key for key in _slots(values, r"scsi\d+") if key not in (slot, "scsi0") and is_disk(values[key])
        ]
        disks = {key: size_of(values[key]) for key in drives}
        if any(disks.values()):
            yield "disks", {key: {"size": size(mib)} for key, mib in disks.items() if mib}


def _slots(values: Mapping[str, Any], pattern: str) -> list[str]:
    return sorted((key for key in values if re.fullmatch(pattern, key)), key=lambda key: (len(key), key))


def _mount(value: object) -> dict[str, Any]:
    """A mount point in the file's words; empty where it cannot be said."""
    parts = properties.parse(value, "volume")
    source, path, mib = parts.get("volume", ""), parts.get("mp", "").rstrip("/"), size_of(value)
    if not _PATH.fullmatch(path) or path != parts.get("mp"):
        return {}
    said: dict[str, Any] = {"path": path}
    if source.startswith("/"):
        if source.startswith("/dev/") or not _PATH.fullmatch(source):
            return {}
        said["source"] = source
    elif mib:
        said["size"] = size(mib)
        said["backup"] = properties.flag(parts.get("backup"))
    else:
        return {}
    return said | {"readonly": properties.flag(parts.get("ro"))}


def _tell_odd(mounts: Mapping[str, Mapping[str, Any]], comments: list[str]) -> None:
    odd = [key for key, mount in mounts.items() if not mount]
    if odd:
        comments.append(f"{', '.join(odd)}: stays as it is; the file cannot say it")


def _features(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    parts = properties.parse(values.get("features"))
    features: dict[str, Any] = {key: properties.flag(parts[key]) for key in FEATURES if key in parts}
    if parts.get("mount"):
        features["mount"] = parts["mount"].split(";")
    if features:
        yield "features", features


def _devices(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    paths = [properties.parse(values[key], "path").get("path", "") for key in _slots(values, r"dev\d+")]
    if TUN in paths:
        yield "tun", True
    others = [path for path in paths if path != TUN and path.startswith("/dev/") and _PATH.fullmatch(path)]
    if others:
        yield "devices", others


def _network(seen: Seen, values: Mapping[str, Any], comments: list[str]) -> dict[str, str]:
    net = properties.parse_net(values.get("net0"))
    if not net.get("bridge"):
        comments.append("it has no net0 on a bridge" if not net else "its net0 is on no bridge")
        return {}
    address = net if seen.kind == "lxc" else properties.parse(values.get("ipconfig0"))
    found = {
        "bridge": net["bridge"],
        "vlan": net.get("tag", ""),
        "mtu": net.get("mtu", ""),
        "mac": net.get("hwaddr", ""),
        "address": address.get("ip", ""),
        "gateway": address.get("gw", ""),
        "address6": address.get("ip6", ""),
        "gateway6": address.get("gw6", ""),
    }
    if seen.kind == "lxc" or "ipconfig0" in values:
        found["resolver"] = " ".join(str(values.get("nameserver") or "").split())
        found["domain"] = " ".join(str(values.get("searchdomain") or "").split())
    more = _slots(values, r"net[1-9]\d*")
    if more:
        comments.append(f"{', '.join(more)}: stays as it is; the file names the first network card only")
    return {key: value for key, value in found.items() if value or key in ("resolver", "domain")}


def size(mib: int) -> str:
    """MiB in the file's words."""
    return f"{mib // GIB} GiB" if mib % GIB == 0 and mib else f"{mib} MiB"

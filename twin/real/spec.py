"""A Proxmox configuration, read: what a guest on a real node would be. Pure.

Source of the property strings: PVE/LXC/Config.pm (`$netconf_desc`, `$rootfs_desc`, `$mp_desc`, `$dev_desc`)
and PVE/QemuServer/{Network,Drive,Cloudinit}.pm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

Kind = Literal["lxc", "qemu"]
Config = Mapping[str, Any]

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")
_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")
DEFAULT_DISK = 2 * 1024**3


@dataclass(frozen=True)
class Nic:
    """A network interface; addresses with prefix length, or "dhcp", "auto", "manual", None."""

    index: int
    name: str
    mac: str
    bridge: str
    vlan: int | None = None
    mtu: int | None = None
    address: str | None = None
    gateway: str | None = None
    address6: str | None = None
    gateway6: str | None = None
    down: bool = False
    firewall: bool = False


@dataclass(frozen=True)
class Volume:
    """A disk.

    `volume` as Proxmox names it (STORAGE:NAME), or a directory of the node; `path` is inside the guest;
    `backup`: vzdump takes it along (a container's further ones where they say so, a VM's unless they do not).
    """

    key: str
    volume: str
    size: int
    path: str | None = None
    readonly: bool = False
    backup: bool = True

    @property
    def bound(self) -> bool:
        """Whether it is a directory of the node, not a volume of a storage."""
        return self.volume.startswith("/")


@dataclass(frozen=True)
class Device:
    """A device of the node passed through (`devN`)."""

    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o660


#: What a VM's own kernel has, and a container that stands in for it only as a device of the node.
TUN = Device("/dev/net/tun", mode=0o666)


@dataclass(frozen=True)
class Spec:
    """A guest. Memory and swap in MiB, sizes in bytes."""

    vmid: int
    kind: Kind
    name: str
    memory: int
    root: Volume
    swap: int = 0
    cores: int | None = None
    cpulimit: float = 0
    unprivileged: bool = False
    features: Mapping[str, str] = field(default_factory=dict)
    nics: tuple[Nic, ...] = ()
    mounts: tuple[Volume, ...] = ()
    devices: tuple[Device, ...] = ()
    resolvers: tuple[str, ...] = ()
    domain: str | None = None
    user: str = "root"
    keys: str = ""
    agent: bool = False

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """Its disks on a storage; the root disk first."""
        return (self.root, *(mount for mount in self.mounts if not mount.bound))


def properties(text: object) -> tuple[str, dict[str, str]]:
    """A property string as its bare first value (or "") and its keys."""
    first, found = "", {}
    for n, part in enumerate(str(text).split(",")):
        key, equals, value = part.partition("=")
        if equals:
            found[key] = value
        elif n == 0:
            first = part
    return first, found


def size_of(text: str | None, default: int = 0) -> int:
    """Bytes of a size such as 8G."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", str(text or "").strip())
    return int(float(match[1]) * _UNITS[match[2]]) if match else default


def container(vmid: int, config: Config) -> Spec:
    """A container's configuration, read."""
    return Spec(
        vmid=vmid,
        kind="lxc",
        name=str(config.get("hostname") or f"CT{vmid}"),
        memory=int(config.get("memory") or 512),
        swap=int(config.get("swap") or 0),
        cores=int(config["cores"]) if config.get("cores") else None,
        cpulimit=float(config.get("cpulimit") or 0),
        root=_volume("rootfs", config.get("rootfs", "")),
        unprivileged=str(config.get("unprivileged", "0")) in ("1", "True"),
        features=properties(config.get("features", ""))[1],
        nics=tuple(_nic(int(key[3:]), config[key]) for key in _numbered(config, "net")),
        mounts=tuple(_volume(key, config[key]) for key in _numbered(config, "mp")),
        devices=tuple(_device(config[key]) for key in _numbered(config, "dev")),
        resolvers=tuple(str(config.get("nameserver") or "").replace(",", " ").split()),
        domain=config.get("searchdomain"),
    )


def machine(vmid: int, config: Config) -> Spec:
    """A VM's configuration, read as that of the container which stands in for it; cloud-init included."""
    disks = [key for key in _disks(config)]
    first = next((key for key in _boot_order(config) if key in disks), disks[0] if disks else "scsi0")
    rest = tuple(_volume(key, config[key]) for key in disks if key != first)
    return Spec(
        vmid=vmid,
        kind="qemu",
        name=str(config.get("name") or f"VM{vmid}"),
        memory=int(properties(config.get("memory") or 512)[0] or properties(config["memory"])[1]["current"]),
        cores=int(config.get("cores") or 1) * int(config.get("sockets") or 1),
        root=_volume(first, config.get(first, "")),
        nics=tuple(_vm_nic(int(key[3:]), config) for key in _numbered(config, "net")),
        mounts=rest,
        devices=(TUN,),
        features={"nesting": "1"},
        resolvers=tuple(str(config.get("nameserver") or "").split()),
        domain=config.get("searchdomain"),
        user=str(config.get("ciuser") or "debian"),
        keys=unquote(str(config.get("sshkeys") or "")),
        agent=_agent(config),
    )


def _agent(config: Config) -> bool:
    first, keys = properties(config.get("agent", "0"))
    return (first or keys.get("enabled", "0")) == "1"


def _numbered(config: Config, prefix: str) -> list[str]:
    keys = [key for key in config if re.fullmatch(rf"{prefix}\d+", key)]
    return sorted(keys, key=lambda key: int(key[len(prefix) :]))


def _disks(config: Config) -> list[str]:
    keys = [key for key in config if _DISK.fullmatch(key)]
    disks = [
        key for key in keys if "media=cdrom" not in str(config[key]) and "cloudinit" not in str(config[key])
    ]
    return sorted(disks, key=lambda key: (re.sub(r"\d", "", key), int(re.sub(r"\D", "", key))))


def _boot_order(config: Config) -> list[str]:
    _, keys = properties(config.get("boot", ""))
    return keys.get("order", "").split(";")


def _volume(key: str, value: object) -> Volume:
    first, keys = properties(value)
    return Volume(
        key=key,
        volume=first or keys.get("volume", "") or keys.get("file", ""),
        size=size_of(keys.get("size"), DEFAULT_DISK),
        path=keys.get("mp"),
        readonly=keys.get("ro") == "1",
        backup=keys.get("backup", "0" if key.startswith("mp") else "1") == "1",
    )


def _nic(index: int, value: object) -> Nic:
    _, keys = properties(value)
    return Nic(
        index=index,
        name=keys.get("name", f"eth{index}"),
        mac=keys.get("hwaddr", ""),
        bridge=keys.get("bridge", ""),
        vlan=int(keys["tag"]) if "tag" in keys else None,
        mtu=int(keys["mtu"]) if "mtu" in keys else None,
        address=keys.get("ip"),
        gateway=keys.get("gw"),
        address6=keys.get("ip6"),
        gateway6=keys.get("gw6"),
        down=keys.get("link_down") == "1",
        firewall=keys.get("firewall") == "1",
    )


def _vm_nic(index: int, config: Config) -> Nic:
    """A VM's interface, with the address that cloud-init would give it."""
    _, keys = properties(config[f"net{index}"])
    _, cloud = properties(config.get(f"ipconfig{index}", ""))
    mac = next((keys[model] for model in _MODELS if model in keys), keys.get("macaddr", ""))
    return Nic(
        index=index,
        name=f"eth{index}",
        mac=mac,
        bridge=keys.get("bridge", ""),
        vlan=int(keys["tag"]) if "tag" in keys else None,
        mtu=int(keys["mtu"]) if keys.get("mtu", "1") != "1" else None,
        address=cloud.get("ip"),
        gateway=cloud.get("gw"),
        address6=cloud.get("ip6"),
        gateway6=cloud.get("gw6"),
        down=keys.get("link_down") == "1",
        firewall=keys.get("firewall") == "1",
    )


def _device(value: object) -> Device:
    first, keys = properties(value)
    return Device(
        path=first or keys.get("path", ""),
        uid=int(keys.get("uid", 0)),
        gid=int(keys.get("gid", 0)),
        mode=int(keys.get("mode", "0660"), 8),
    )

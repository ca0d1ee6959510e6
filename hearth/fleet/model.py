"""The fleet: typed, frozen models of what inventory/fleet.yaml says.

A field that is None was not declared: it is neither compared with what Proxmox has nor sent.
Sizes are integers in MiB. Parsing, line numbers and checks across guests live beside this file
(loader.py, checks.py); nothing here does I/O.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Kind = Literal["lxc", "vm"]
Restart = Literal["allowed", "never"]
AUTO = "auto"


class Frozen(BaseModel):
    """A model that neither changes nor takes keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ssh(Frozen):
    """How the run reaches a node's SSH server (the wrapper)."""

    user: str = "root"
    port: int = 22


class Node(Frozen):
    """A Proxmox VE node; `name` is its name in Proxmox."""

    name: str
    address: IPv4Address
    endpoint: str  # https://address:8006 unless declared
    ssh: Ssh = Ssh()
    storage: str  # where guests' disks go
    images: str  # where templates and cloud images go
    tailnet: bool = False  # joins it, where the file has one


class Network(Frozen):
    """A bridge of the nodes, and what guests on it are told."""

    name: str
    bridge: str
    vlan: int | None = None
    mtu: int | None = None
    subnet: IPv4Network | None = None
    gateway: IPv4Address | None = None
    subnet6: IPv6Network | None = None
    gateway6: IPv6Address | None = None
    resolver: tuple[IPv4Address | IPv6Address, ...] = ()
    domain: str | None = None


class Image(Frozen):
    """A container template or a cloud image, fetched by the node itself."""

    name: str
    kind: Kind
    url: str
    checksum: str | None = None  # "sha512:HEX"
    disk: int | None = None  # MiB: the smallest disk it fits on, where declared

    @property
    def filename(self) -> str:
        """The file's name on the storage: the last part of the URL."""
        return self.url.rstrip("/").rsplit("/", 1)[-1]


class Mount(Frozen):
    """A container's mount point: a volume (`size`) or a directory of the node (`source`)."""

    slot: str  # mp0 .. mp255
    path: str
    size: int | None = None  # MiB
    storage: str | None = None
    source: str | None = None
    backup: bool | None = None
    readonly: bool | None = None


class Disk(Frozen):
    """A further disk of a VM."""

    slot: str  # scsi1 .. scsi30
    size: int  # MiB
    storage: str | None = None


class Startup(Frozen):
    """Order and delays (seconds) at the node's boot."""

    order: int | None = None
    up: int | None = None
    down: int | None = None


class Features(Frozen):
    """Container features; all but nesting are root-only in Proxmox."""

    nesting: bool | None = None
    keyctl: bool | None = None
    fuse: bool | None = None
    mknod: bool | None = None
    mount: tuple[str, ...] | None = None


class Guest(Frozen):
    """A VM or a container, whole: defaults of the file are already merged in."""

    name: str
    kind: Kind
    node: str  # a node's name, or AUTO
    vmid: int
    network: str | None = None
    address: IPv4Address | Literal["dhcp"] | None = None
    address6: IPv6Address | Literal["dhcp", "auto"] | None = None
    mac: str | None = None  # upper case; derived from the VMID unless declared
    cores: int | None = None
    memory: int | None = None
    swap: int | None = None
    disk: int | None = None
    storage: str | None = None
    image: str | None = None
    unprivileged: bool | None = None
    features: Features = Features()
    mounts: tuple[Mount, ...] = ()
    disks: tuple[Disk, ...] = ()
    devices: tuple[str, ...] = ()
    tun: bool = False
    tags: tuple[str, ...] = ()
    pool: str | None = None
    onboot: bool | None = None
    startup: Startup | None = None
    description: str | None = None
    protection: bool | None = None
    restart: Restart = "never"
    tailnet: bool = True  # joins it, where the file has one
    group: str | None = None  # the entry with `count` that makes it, and others like it
    appliance: bool = False  # nothing inside is ours: no roles, no SSH
    roles: tuple[str, ...] = ()  # `base` first, unless it is an appliance


class Admin(Frozen):
    """The person the home belongs to: a login on every guest."""

    user: str = "admin"
    keys: tuple[str, ...] = ()
    timezone: str = "Etc/UTC"
    locale: str = "C.UTF-8"


class Tailnet(Frozen):
    """The tailnet that every guest joins, and every node that asks."""

    domain: str  # MagicDNS: a guest is NAME.domain
    server: str | None = None  # URL of the coordination server, without a slash at the end; None: follows


class BackupJob(Frozen):
    """A backup job of Proxmox (vzdump, or to a Proxmox Backup Server where the storage is one)."""

    name: str
    schedule: str  # as Proxmox has it: "02:30", "sun 03:00"
    guests: tuple[str, ...]
    storage: str
    mode: Literal["snapshot", "suspend", "stop"] = "snapshot"
    keep: tuple[tuple[str, int], ...]  # ("daily", 7): how many of the newest days are kept
    notes: str


class Backup(Frozen):
    """Proxmox's backup jobs, as far as they are Hearth's."""

    jobs: tuple[BackupJob, ...] = ()


class Fleet(Frozen):
    """The whole file."""

    nodes: tuple[Node, ...]
    networks: tuple[Network, ...]
    images: tuple[Image, ...] = ()
    admin: Admin = Admin()
    tailnet: Tailnet | None = None
    firewall: bool = False  # Hearth keeps Proxmox's firewall
    backup: Backup | None = None  # None: Proxmox's backup jobs are not looked at
    guests: tuple[Guest, ...] = ()

    def guest(self, name: str) -> Guest:
        """The guest of this name; KeyError when there is none."""
        return _named(self.guests, name)

    def node(self, name: str) -> Node:
        """The node of this name; KeyError when there is none."""
        return _named(self.nodes, name)

    def network(self, name: str) -> Network:
        """The network of this name; KeyError when there is none."""
        return _named(self.networks, name)

    def image(self, name: str) -> Image:
        """The image of this name; KeyError when there is none."""
        return _named(self.images, name)

    def with_role(self, role: str) -> tuple[Guest, ...]:
        """The guests that have this role, in the file's order."""
        return tuple(guest for guest in self.guests if role in guest.roles)


_Item = TypeVar("_Item", Node, Network, Image, Guest)


def _named(items: tuple[_Item, ...], name: str) -> _Item:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)

"""The keys of the fleet file: one model a section, every key optional.

What must be there is checked after the defaults are merged (guests.py, sections.py), so that one
wrong key does not hide the others. The limits are Proxmox's own (`pct`, `qm` manual pages;
pve-container LXC/Config.pm, qemu-server QemuServer.pm).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainValidator, model_validator

from hearth.fleet import addresses as a
from hearth.fleet import scalars as s
from hearth.fleet import schedules
from hearth.fleet.mistakes import WrongError
from hearth.fleet.model import Kind, Restart

MAX_VMID = 999_999_999
MIN_VMID = 100


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise WrongError(f"is {s.show(value)} where keys and values belong", "write keys and values below it")


def _slots(prefix: str, first: int, last: int) -> PlainValidator:
    def check(value: object) -> str:
        match = re.fullmatch(rf"{prefix}(0|[1-9][0-9]{{0,2}})", str(value))
        if match is None or not first <= int(match[1]) <= last:
            raise WrongError(f"{s.show(value)} is no slot", f"write {prefix}{first} to {prefix}{last}")
        return str(value)

    return PlainValidator(check)


def _description(value: object) -> str:
    written = s.text(value)
    if len(written) > 8192:  # noqa: PLR2004  maxLength of `description`
        raise WrongError("is longer than 8192 characters", "shorten it; Proxmox takes no more")
    return written


_login = s.shaped(r"[a-z_][a-z0-9_-]{0,31}", "login", "write e.g. root")
Raw = Annotated[dict[str, Any], PlainValidator(_mapping)]
Word = Annotated[str, PlainValidator(a.word)]
YesOrNo = Annotated[bool, PlainValidator(s.yes_no)]
Size = Annotated[int, PlainValidator(s.at_least(1, "nothing fits in"))]
Seconds = Annotated[int, PlainValidator(s.whole(0, 86400))]
Storage = Annotated[str, PlainValidator(a.storage)]
Path = Annotated[str, PlainValidator(a.path)]
Count = Annotated[int, PlainValidator(s.whole(1, 10_000))]
Mode = Literal["snapshot", "suspend", "stop"]


class Entry(BaseModel):
    """A section: unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SshEntry(Entry):
    """nodes.NAME.ssh"""

    user: Annotated[str, PlainValidator(_login)] | None = None
    port: Annotated[int, PlainValidator(s.whole(1, 65535))] | None = None


class NodeEntry(Entry):
    """nodes.NAME"""

    address: Annotated[IPv4Address, PlainValidator(a.v4)] | None = None
    endpoint: Annotated[str, PlainValidator(a.url("https"))] | None = None
    ssh: SshEntry = SshEntry()
    storage: Storage | None = None
    images: Storage | None = None
    tailnet: YesOrNo = False


class NetworkEntry(Entry):
    """networks.NAME"""

    bridge: Annotated[str, PlainValidator(a.bridge)] | None = None
    vlan: Annotated[int, PlainValidator(s.whole(1, 4094))] | None = None
    mtu: Annotated[int, PlainValidator(s.whole(64, 65520))] | None = None
    subnet: Annotated[IPv4Network, PlainValidator(a.subnet4)] | None = None
    gateway: Annotated[IPv4Address, PlainValidator(a.v4)] | None = None
    subnet6: Annotated[IPv6Network, PlainValidator(a.subnet6)] | None = None
    gateway6: Annotated[IPv6Address, PlainValidator(a.v6)] | None = None
    resolver: tuple[Annotated[IPv4Address | IPv6Address, PlainValidator(a.either)], ...] = ()
    domain: Annotated[str, PlainValidator(a.domain)] | None = None


class ImageEntry(Entry):
    """images.NAME"""

    kind: Annotated[Kind, PlainValidator(s.one_of("lxc", "vm"))] | None = None
    url: Annotated[str, PlainValidator(a.url("https", "http"))] | None = None
    checksum: Annotated[str, PlainValidator(a.checksum)] | None = None
    disk: Size | None = None


class AdminEntry(Entry):
    """admin"""

    user: Annotated[str, PlainValidator(a.user)] | None = None
    keys: tuple[Annotated[str, PlainValidator(a.ssh_key)], ...] = ()
    timezone: Annotated[str, PlainValidator(a.timezone)] | None = None
    locale: Annotated[str, PlainValidator(a.locale)] | None = None


class TailnetEntry(Entry):
    """tailnet"""

    domain: Annotated[str, PlainValidator(a.domain)] | None = None
    server: Annotated[str, PlainValidator(a.url("https"))] | None = None


class KeepEntry(Entry):
    """backup.jobs.NAME.keep"""

    last: Count | None = None
    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None
    yearly: Count | None = None


class BackupJobEntry(Entry):
    """backup.jobs.NAME"""

    schedule: Annotated[str, PlainValidator(schedules.schedule)] | None = None
    guests: tuple[Word, ...] | None = None
    storage: Storage | None = None
    mode: Annotated[Mode, PlainValidator(s.one_of("snapshot", "suspend", "stop"))] = "snapshot"
    keep: KeepEntry = KeepEntry()
    notes: Annotated[str, PlainValidator(schedules.notes)] | None = None


class BackupEntry(Entry):
    """backup"""

    storage: Storage | None = None
    jobs: Raw = {}


class MountEntry(Entry):
    """guests.NAME.mounts.mpN"""

    path: Path | None = None
    size: Size | None = None
    storage: Storage | None = None
    source: Path | None = None
    backup: YesOrNo | None = None
    readonly: YesOrNo | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> MountEntry:
        if self.path is None:
            raise WrongError("has no path", "write where it appears in the guest, e.g. path: /srv/data")
        if (self.size is None) == (self.source is None):
            raise WrongError("needs either size or source", "size: a volume; source: a folder of the node")
        if self.source is not None and (self.storage is not None or self.backup is not None):
            raise WrongError("has storage or backup beside source", "a folder of the node has neither")
        return self


class DiskEntry(Entry):
    """guests.NAME.disks.scsiN"""

    size: Size | None = None
    storage: Storage | None = None

    @model_validator(mode="after")
    def _sized(self) -> DiskEntry:
        if self.size is None:
            raise WrongError("has no size", 'write e.g. size: "32 GiB"')
        return self


class FeaturesEntry(Entry):
    """guests.NAME.features"""

    nesting: YesOrNo | None = None
    keyctl: YesOrNo | None = None
    fuse: YesOrNo | None = None
    mknod: YesOrNo | None = None
    mount: tuple[Annotated[str, PlainValidator(a.file_system)], ...] | None = None


class StartupEntry(Entry):
    """guests.NAME.startup"""

    order: Annotated[int, PlainValidator(s.whole(0, 100_000))] | None = None
    up: Seconds | None = None
    down: Seconds | None = None


class GuestEntry(Entry):
    """guests.NAME, defaults, defaults.lxc and defaults.vm"""

    kind: Annotated[Kind, PlainValidator(s.one_of("lxc", "vm"))] | None = None
    node: Word | None = None
    vmid: Annotated[int, PlainValidator(s.whole(MIN_VMID, MAX_VMID))] | None = None
    network: Word | None = None
    address: Annotated[IPv4Address | Literal["dhcp"], PlainValidator(a.address4)] | None = None
    address6: Annotated[IPv6Address | Literal["dhcp", "auto"], PlainValidator(a.address6)] | None = None
    mac: Annotated[str, PlainValidator(a.mac)] | None = None
    cores: Annotated[int, PlainValidator(s.whole(1, 8192))] | None = None
    memory: Annotated[int, PlainValidator(s.at_least(16, "Proxmox wants 16 MiB"))] | None = None
    swap: Annotated[int, PlainValidator(s.size)] | None = None
    disk: Size | None = None
    storage: Storage | None = None
    image: Word | None = None
    unprivileged: YesOrNo | None = None
    features: FeaturesEntry = FeaturesEntry()
    mounts: dict[Annotated[str, _slots("mp", 0, 255)], MountEntry] = {}
    disks: dict[Annotated[str, _slots("scsi", 1, 30)], DiskEntry] = {}
    devices: tuple[Annotated[str, PlainValidator(a.device)], ...] = ()
    tun: YesOrNo = False
    tags: tuple[Annotated[str, PlainValidator(a.tag)], ...] = ()
    pool: Annotated[str, PlainValidator(a.pool)] | None = None
    onboot: YesOrNo | None = None
    startup: StartupEntry | None = None
    description: Annotated[str, PlainValidator(_description)] | None = None
    protection: YesOrNo | None = None
    restart: Annotated[Restart, PlainValidator(s.one_of("allowed", "never"))] = "never"
    tailnet: YesOrNo = True
    appliance: YesOrNo = False
    roles: tuple[Word, ...] = ()


class DefaultsEntry(GuestEntry):
    """defaults: any guest key, and those for one kind."""

    lxc: Raw = {}
    vm: Raw = {}


class FileEntry(Entry):
    """The top of the file; the sections are read one by one, so that each mistake is found."""

    nodes: Raw | None = None
    networks: Raw = {}
    images: Raw = {}
    admin: Raw = {}
    tailnet: Raw | None = None
    firewall: YesOrNo = False
    backup: Raw | None = None
    defaults: Raw = {}
    guests: Raw | None = None

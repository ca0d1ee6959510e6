"""What Proxmox should have for a guest of the fleet: pure, and only what the fleet file declares.

Keys are those of PVE::LXC::Config and PVE::QemuServer (`man pct.conf`, `man qm.conf`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import quote

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Image, Network, Node
from hearth.proxmox import properties
from hearth.proxmox.images import volume_of

TAG = "hearth"
TUN = "/dev/net/tun"
DIALOUT = 20  # the group of serial devices in Debian
Address = IPv4Address | IPv6Address | Literal["dhcp", "auto"] | None


@dataclass(frozen=True)
class Intent:
    """What is wanted of a guest in this run.

    Args:
        guest, fleet: from the fleet file.
        node: where it lives or shall be made (`place` decides for `node: auto`).
        keys: SSH public keys that a new guest's root trusts, one a line each.
        adopt, replace, destroy: its name was given on the command line.
        walled: its cable passes Proxmox's firewall; False: that is not looked at.
        archive: the backup (volume ID) that it is made from, where it is made; None: from its image.
    """

    guest: Guest
    fleet: Fleet
    node: str
    keys: tuple[str, ...] = ()
    adopt: bool = False
    replace: bool = False
    destroy: bool = False
    walled: bool = False
    archive: str | None = None

    @property
    def storage(self) -> str:
        """Where its disks are made."""
        return self.guest.storage or self.home.storage

    @property
    def home(self) -> Node:
        """The node of the fleet file."""
        return self.fleet.node(self.node)


@dataclass(frozen=True)
class Creation:
    """How to make a guest: the parameters of POST /nodes/N/lxc or /qemu, and what root must add."""

    params: Mapping[str, str | int]
    storage: str


@dataclass(frozen=True)
class Volume:
    """A disk or mount point that Proxmox allocates: `size` in MiB, `options` of a mount point."""

    slot: str
    size: int | None
    storage: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def allocation(self) -> str:
        """What makes it: STORAGE:GIB. Sent again for a slot that is taken, it would make another disk."""
        size = properties.gibibytes(self.size or 0)
        return properties.show({"volume": f"{self.storage}:{size}", **self.options}, "volume")


def wanted_tags(guest: Guest, present: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The guest's tags, always with ours; where the file names none, those that are there stay."""
    return tuple(sorted({tag.lower() for tag in guest.tags or present} | {TAG}))


def network_of(guest: Guest, fleet: Fleet) -> Network | None:
    """The guest's network, or None where it declares none."""
    return fleet.network(guest.network) if guest.network else None


def link(intent: Intent, network: Network) -> dict[str, str | None]:
    """The declared parts of net0's cable: bridge, tag (None: no VLAN), hwaddr, mtu, firewall."""
    guest = intent.guest
    wanted: dict[str, str | None] = {
        "bridge": network.bridge,
        "tag": None if network.vlan is None else str(network.vlan),
    }
    if guest.mac:
        wanted["hwaddr"] = guest.mac.upper()
    if network.mtu is not None:
        wanted["mtu"] = str(network.mtu)
    if intent.walled and not guest.appliance:  # an appliance's ports are its own business
        wanted["firewall"] = "1"
    return wanted


def addressing(guest: Guest, network: Network) -> dict[str, str]:
    """The declared parts of the address: ip, gw, ip6, gw6, for a container's net0 or a VM's ipconfig0."""
    prefix = network.subnet.prefixlen if network.subnet else None
    prefix6 = network.subnet6.prefixlen if network.subnet6 else None
    four = {"ip": _written(guest.name, guest.address, prefix), "gw": _static(guest.address, network.gateway)}
    six = {
        "ip6": _written(guest.name, guest.address6, prefix6),
        "gw6": _static(guest.address6, network.gateway6),
    }
    return {key: value for key, value in (four | six).items() if value}


def _static(address: Address, gateway: object) -> str:
    return "" if address is None or isinstance(address, str) or gateway is None else str(gateway)


def _written(name: str, address: Address, prefix: int | None) -> str:
    if address is None or isinstance(address, str):
        return address or ""
    if prefix is None:
        raise HearthError(
            f"address guest {name}", "its network has no subnet", "declare the network's subnet"
        )
    return f"{address}/{prefix}"


def resolver(network: Network) -> dict[str, str]:
    """The declared nameserver (space separated) and searchdomain."""
    wanted = {}
    if network.resolver:
        wanted["nameserver"] = " ".join(str(address) for address in network.resolver)
    if network.domain:
        wanted["searchdomain"] = network.domain
    return wanted


def features(guest: Guest) -> dict[str, str]:
    """The declared container features as Proxmox writes them."""
    declared = guest.features
    flags = {
        key: str(int(value))
        for key in ("fuse", "keyctl", "mknod", "nesting")
        if (value := getattr(declared, key)) is not None
    }
    return flags | ({"mount": ";".join(declared.mount)} if declared.mount is not None else {})


def startup(guest: Guest) -> dict[str, str]:
    """The declared parts of `startup`."""
    declared = guest.startup
    parts = {key: getattr(declared, key) for key in ("order", "up", "down")} if declared else {}
    return {key: str(value) for key, value in parts.items() if value is not None}


def volumes(intent: Intent) -> tuple[Volume, ...]:
    """Further disks of a VM, or a container's mount points that are volumes."""
    guest = intent.guest
    if guest.kind == "vm":
        return tuple(Volume(d.slot, d.size, d.storage or intent.storage) for d in guest.disks)
    return tuple(
        Volume(m.slot, m.size, m.storage or intent.storage, mount_options(m.path, m.backup, m.readonly))
        for m in guest.mounts
        if m.source is None
    )


def binds(guest: Guest) -> dict[str, dict[str, str]]:
    """A container's mount points that are directories of the node: slot -> properties (root only)."""
    return {
        m.slot: {"volume": m.source, **mount_options(m.path, None, m.readonly)}
        for m in guest.mounts
        if m.source is not None
    }


def mount_options(path: str, backup: bool | None, readonly: bool | None) -> dict[str, str]:
    """The declared options of a mount point."""
    options = {"mp": path}
    if backup is not None:
        options["backup"] = str(int(backup))
    if readonly is not None:
        options["ro"] = str(int(readonly))
    return options


def devices(guest: Guest) -> dict[str, str]:
    """A container's devices (root only): path on the node -> value of its `devN`.

    A serial device belongs to the group dialout, as Debian has it; others, as tun, are for everybody: a
    container's root gives them to nobody else. `devN` takes gid and mode: `man pct.conf`.
    """
    if guest.kind != "lxc":
        return {}
    paths = [*guest.devices, *([TUN] if guest.tun else [])]
    return {path: f"{path},{_access(path)}" for path in paths}


def _access(path: str) -> str:
    serial = path.startswith(("/dev/serial/", "/dev/ttyUSB", "/dev/ttyACM"))
    return f"gid={DIALOUT},mode=0660" if serial else "mode=0666"


def flags(guest: Guest) -> dict[str, bool]:
    """The declared yes-or-no keys."""
    declared = {"onboot": guest.onboot, "protection": guest.protection}
    if guest.kind == "lxc":
        declared["unprivileged"] = guest.unprivileged
    return {key: value for key, value in declared.items() if value is not None}


def creation(intent: Intent) -> Creation:
    """The request that makes the guest, without what root must add and without protection.

    Protection comes last: Proxmox refuses changes of a protected container's mount points.

    Raises:
        HearthError: the fleet file does not say enough to make it.
    """
    guest = intent.guest
    for needed in ("image", "disk"):
        if getattr(guest, needed) is None:
            raise HearthError(f"create guest {guest.name}", f"it has no {needed}", f"declare its {needed}")
    image = intent.fleet.image(guest.image or "")
    params = {"vmid": guest.vmid, "tags": ";".join(wanted_tags(guest)), **_plain(guest)}
    params |= _container(intent, image) if guest.kind == "lxc" else _machine(intent, image)
    if guest.pool:
        params["pool"] = guest.pool
    return Creation(params, intent.storage)


def _plain(guest: Guest) -> dict[str, str | int]:
    numbers = {"cores": guest.cores, "memory": guest.memory}
    params: dict[str, str | int] = {key: value for key, value in numbers.items() if value is not None}
    if guest.onboot is not None:
        params["onboot"] = int(guest.onboot)
    if startup(guest):
        params["startup"] = properties.show(startup(guest))
    if guest.description is not None:
        params["description"] = guest.description
    return params


def _container(intent: Intent, image: Image) -> dict[str, str | int]:
    guest = intent.guest
    unprivileged = guest.unprivileged is not False
    params: dict[str, str | int] = {
        "hostname": guest.name,
        "ostemplate": volume_of(image, intent.home),
        "rootfs": f"{intent.storage}:{properties.gibibytes(guest.disk or 0)}",
        "unprivileged": int(unprivileged),  # left out, it is privileged on 8.4 and unprivileged on 9.2
    }
    if guest.swap is not None:
        params["swap"] = guest.swap
    if guest.features.nesting and unprivileged:
        params["features"] = "nesting=1"
    if intent.keys:
        params["ssh-public-keys"] = "\n".join(intent.keys)
    network = network_of(guest, intent.fleet)
    if network is not None:
        net = {"name": "eth0", **link(intent, network), **addressing(guest, network), "type": "veth"}
        params["net0"] = properties.show_net(_set(net))
        params |= resolver(network)
    return params | {volume.slot: volume.allocation for volume in volumes(intent)}


def _machine(intent: Intent, image: Image) -> dict[str, str | int]:
    guest, storage = intent.guest, intent.storage
    params: dict[str, str | int] = {
        "name": guest.name,
        "ostype": "l26",
        "cpu": "x86-64-v2-AES",  # what the web interface takes; the API's own default is kvm64
        "scsihw": "virtio-scsi-single",
        "scsi0": f"{storage}:0,import-from={volume_of(image, intent.home)},discard=on,iothread=1",
        "ide2": f"{storage}:cloudinit",
        "boot": "order=scsi0",
        "serial0": "socket",
        "vga": "serial0",
        "agent": "1",
        "ciuser": "root",
        "ciupgrade": 0,  # an upgrade at first boot would hold apt's lock against the run
    }
    if intent.keys:
        params["sshkeys"] = quote("\n".join(intent.keys), safe="")
    network = network_of(guest, intent.fleet)
    if network is not None:
        params["net0"] = properties.show_net(_set({"model": "virtio", **link(intent, network)}))
        params |= resolver(network)
        if addressing(guest, network):
            params["ipconfig0"] = properties.show(addressing(guest, network))
    return params | {volume.slot: volume.allocation for volume in volumes(intent)}


def _set(parts: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in parts.items() if value is not None}

"""The LXC configuration of a guest, and the files inside it that say who it is.

LXC keys: lxc.container.conf(5). What Proxmox writes into a container: PVE/LXC/Setup/Debian.pm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twin.base import FIRST_ID, IDS
from twin.home import vlan_bridge
from twin.real.spec import Nic, Spec
from twin.wall.plug import firewall_bridge

_SHARE = "/usr/share/lxc/config"


@dataclass(frozen=True)
class Places:
    """Where a guest's things are; `group` is its cgroup below the root."""

    root: Path
    volumes: dict[str, Path]  # volume name -> where its file system is mounted
    devices: tuple[tuple[Path, str], ...]  # for each devN: a node of our own, and what it is ("c 10:200")
    group: str
    unified: bool
    apparmor: bool


def lxc_config(spec: Spec, places: Places, cpus: list[int]) -> str:
    """The text of the guest's LXC configuration.

    Args:
        spec: the guest.
        places: its folders and groups.
        cpus: the machine's processors that it may use.
    """
    lines = [
        f"lxc.include = {_SHARE}/common.conf",
        f"lxc.uts.name = {spec.name}",
        f"lxc.rootfs.path = dir:{places.root}",
        "lxc.arch = linux64",
        "lxc.tty.max = 0",
        f"lxc.cgroup.dir.container = {places.group}/payload",
        "lxc.cgroup.dir.container.inner = guest",
        f"lxc.cgroup.dir.monitor = {places.group}/monitor",
        *(["lxc.apparmor.profile = unconfined"] if places.apparmor else []),
        *_ids(spec),
        *(line for position, nic in enumerate(spec.nics) for line in _nic(spec, nic, position)),
        *_limits(spec, places.unified, cpus),
        *_nesting(spec),
        *_mounts(spec, places),
        *(line for number, _ in enumerate(spec.devices) for line in _device(spec, places, number)),
    ]
    return "\n".join(lines) + "\n"


def veth_name(vmid: int, index: int) -> str:
    """The interface's end on the node: Proxmox's own name for it."""
    return f"veth{vmid}i{index}"


def bridge_of(vmid: int, nic: Nic) -> str:
    """The bridge that an interface hangs on: the home's, or with `firewall=1` its own small one."""
    return firewall_bridge(vmid, nic.index) if nic.firewall else vlan_bridge(nic.bridge, nic.vlan)


def limits(spec: Spec, unified: bool) -> dict[str, str]:
    """cgroup file -> value, for what the guest may use: applied at its start, and live.

    Cpuset comes apart.
    """
    memory = spec.memory * 1024**2
    quota = round(spec.cpulimit * 100000)
    if unified:
        return {
            "memory.max": str(memory),
            "memory.swap.max": str(spec.swap * 1024**2),
            "cpu.max": f"{quota} 100000" if quota else "max 100000",
        }
    return {"memory.limit_in_bytes": str(memory), "cpu.cfs_quota_us": str(quota or -1)}


def interfaces(spec: Spec) -> str:
    """/etc/network/interfaces as Proxmox writes it."""
    lines = ["auto lo", "iface lo inet loopback", "iface lo inet6 loopback"]
    for nic in spec.nics:
        lines += ["", f"auto {nic.name}", *_family("inet", nic.name, nic.address, nic.gateway)]
        if nic.address6:
            lines += ["", *_family("inet6", nic.name, nic.address6, nic.gateway6)]
    return "\n".join(lines) + "\n"


HOSTS_BEGIN, HOSTS_END = "# --- BEGIN PVE ---", "# --- END PVE ---"


def hosts(spec: Spec, old: str) -> str:
    """/etc/hosts with the guest's own name, and whatever else stands in it.

    Proxmox writes its section at every start and leaves the rest (ct_modify_file in PVE/LXC/Setup/Base.pm); a
    VM's cloud-init writes the file from a template that the admin may extend.
    """
    address = next(
        (n.address.split("/")[0] for n in spec.nics if n.address and "/" in n.address), "127.0.1.1"
    )
    full = f"{spec.name}.{spec.domain} {spec.name}" if spec.domain else spec.name
    section = [HOSTS_BEGIN, f"{address} {full}", HOSTS_END]
    lines = old.splitlines() or ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    if HOSTS_BEGIN in lines and HOSTS_END in lines:
        lines[lines.index(HOSTS_BEGIN) : lines.index(HOSTS_END) + 1] = section
    else:
        lines = [*section, *lines]
    return "\n".join(lines) + "\n"


def resolv(spec: Spec) -> str:
    """/etc/resolv.conf."""
    search = [f"search {spec.domain}"] if spec.domain else []
    return "\n".join([*search, *(f"nameserver {server}" for server in spec.resolvers)]) + "\n"


def _family(family: str, name: str, address: str | None, gateway: str | None) -> list[str]:
    if address == "auto" or (address == "dhcp" and family == "inet6"):
        return [f"iface {name} {family} auto"]
    if address == "dhcp":
        return [f"iface {name} {family} dhcp"]
    if not address or address == "manual":
        return [f"iface {name} {family} manual"]
    more = [f"\tgateway {gateway}"] if gateway else []
    return [f"iface {name} {family} static", f"\taddress {address}", *more]


def _ids(spec: Spec) -> list[str]:
    if not spec.unprivileged:
        return []
    return [
        f"lxc.include = {_SHARE}/userns.conf",
        *(f"lxc.idmap = {kind} 0 {FIRST_ID} {IDS}" for kind in "ug"),
    ]


def _nic(spec: Spec, nic: Nic, position: int) -> list[str]:
    key = f"lxc.net.{position}"
    lines = [
        f"{key}.type = veth",
        f"{key}.link = {bridge_of(spec.vmid, nic)}",
        f"{key}.veth.pair = {veth_name(spec.vmid, nic.index)}",
        f"{key}.name = {nic.name}",
        # Nobody else can have the address: looking for one takes seconds.
        f"lxc.sysctl.net.ipv6.conf.{nic.name}.accept_dad = 0",
    ]
    lines += [f"{key}.hwaddr = {nic.mac}"] if nic.mac else []
    lines += [f"{key}.mtu = {nic.mtu}"] if nic.mtu else []
    return lines if nic.down else [*lines, f"{key}.flags = up"]


def _limits(spec: Spec, unified: bool, cpus: list[int]) -> list[str]:
    version = "cgroup2" if unified else "cgroup"
    values = {**limits(spec, unified), "cpuset.cpus": ",".join(map(str, cpus))}
    # -1 is what a new group has; LXC would refuse to write it twice.
    return [f"lxc.{version}.{name} = {value}" for name, value in values.items() if value != "-1"]


def _nesting(spec: Spec) -> list[str]:
    """What `nesting` opens on a real node, and what a VM has anyway.

    /sys and /proc that may be mounted again.
    """
    if spec.features.get("nesting") != "1":
        return []
    return [
        "lxc.mount.auto = sys:rw",
        "lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0",
        "lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0",
    ]


def _mounts(spec: Spec, places: Places) -> list[str]:
    lines = []
    for mount in spec.mounts:
        if not mount.path:
            continue  # a VM's further disk: there is no block device in a container
        source = mount.volume if mount.bound else places.volumes[mount.volume]
        options = "bind,create=dir" + (",ro" if mount.readonly else "")
        lines.append(f"lxc.mount.entry = {source} {mount.path.lstrip('/')} none {options} 0 0")
    if spec.features.get("fuse") == "1":
        lines.append("lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0")
    return lines


def _device(spec: Spec, places: Places, number: int) -> list[str]:
    """A node of our own bound over the guest's path.

    Its owner and mode are the guest's, as Proxmox does it (pve-container, devN).
    """
    device = spec.devices[number]
    node, number_of = places.devices[number]
    version = "cgroup2" if places.unified else "cgroup"
    return [
        f"lxc.mount.entry = {node} {device.path.lstrip('/')} none bind,create=file 0 0",
        f"lxc.{version}.devices.allow = {number_of} rwm",
    ]


def apparmor() -> bool:
    """Whether this kernel has AppArmor on."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        return False

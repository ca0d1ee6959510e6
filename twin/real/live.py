"""Changes to a running guest, as Proxmox makes them at once: limits of its cgroup, its interfaces.

Source: PVE/LXC/Config.pm `vmconfig_hotplug_pending`, PVE/LXC.pm `update_net` and `update_ipconfig`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twin import cgroups
from twin.commands import run, works
from twin.home import vlan_bridge
from twin.real import lxcconf
from twin.real.spec import Nic, Spec
from twin.state import read_json, write_json
from twin.wall import plug


def applied(folder: Path, spec: Spec) -> None:
    """Remember which interfaces the running guest has."""
    write_json(folder / "applied.json", {"nics": [asdict(nic) for nic in spec.nics]})


def limits(group: str, spec: Spec, cpus: Sequence[int]) -> None:
    """Set memory and processors of the running guest."""
    for name, value in lxcconf.limits(spec, cgroups.unified()).items():
        file = cgroups.tree(name.split(".")[0]) / group / "payload" / name
        if file.exists() and file.read_text().strip() != value:
            file.write_text(value)
    _processors(cgroups.tree("cpuset") / group / "payload", ",".join(map(str, cpus)))


def nics(folder: Path, spec: Spec, pid: int) -> None:
    """Make the running guest's interfaces what the configuration says.

    Args:
        folder: the guest's folder.
        spec: the guest as it is now.
        pid: its process 1.
    """
    before = {row["index"]: Nic(**row) for row in read_json(folder / "applied.json").get("nics", [])}
    now = {nic.index: nic for nic in spec.nics}
    for index in before.keys() - now.keys():
        works("ip", "link", "del", lxcconf.veth_name(spec.vmid, index))
        plug.unplug(spec.vmid, index)
    for index, nic in now.items():
        old = before.get(index)
        if old is None or (old.mac, old.name, old.mtu) != (nic.mac, nic.name, nic.mtu):
            works("ip", "link", "del", lxcconf.veth_name(spec.vmid, index))
            _plug(spec.vmid, nic, pid)
            old = None
        if old != nic:
            _join(spec.vmid, nic)
        if spec.kind == "lxc" and (old is None or _addresses(old) != _addresses(nic)):
            _address(old, nic, pid)
    applied(folder, spec)


def connect(vmid: int, nic: Nic) -> None:
    """Make the bridges that an interface hangs on, where they are missing."""
    bridge = vlan_bridge(nic.bridge, nic.vlan)
    if nic.vlan and not Path("/sys/class/net", bridge).exists():
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
    if nic.firewall:
        plug.plug(vmid, nic.index, bridge)


def _processors(group: Path, value: str) -> None:
    """Children may not have what their parent lacks.

    Growing goes down from the top, shrinking up from the bottom.
    """
    folders = [Path(where) for where in sorted(str(path.parent) for path in group.rglob("cpuset.cpus"))]
    folders = sorted({group, *folders}, key=lambda path: len(path.parts))
    for folder in (*folders, *reversed(folders), *folders):
        with suppress(OSError):
            if (folder / "cpuset.cpus").read_text().strip() != value:
                (folder / "cpuset.cpus").write_text(value)


def _plug(vmid: int, nic: Nic, pid: int) -> None:
    mac = ["address", nic.mac] if nic.mac else []
    peer = ["peer", "name", nic.name, *mac, "netns", str(pid)]
    run("ip", "link", "add", lxcconf.veth_name(vmid, nic.index), "type", "veth", *peer)
    inside(pid, "sysctl", "-qw", f"net.ipv6.conf.{nic.name}.accept_dad=0")
    if nic.mtu:
        inside(pid, "ip", "link", "set", nic.name, "mtu", str(nic.mtu))
    inside(pid, "ip", "link", "set", nic.name, "up")


def _join(vmid: int, nic: Nic) -> None:
    end = lxcconf.veth_name(vmid, nic.index)
    connect(vmid, nic)
    run("ip", "link", "set", end, "master", lxcconf.bridge_of(vmid, nic))
    if not nic.firewall:
        plug.unplug(vmid, nic.index)
    run("ip", "link", "set", end, "down" if nic.down else "up")


def _addresses(nic: Nic) -> tuple[str | None, ...]:
    return (nic.address, nic.gateway, nic.address6, nic.gateway6)


def _address(old: Nic | None, nic: Nic, pid: int) -> None:
    for family, address, gateway, was in (
        ("-4", nic.address, nic.gateway, old.address if old else None),
        ("-6", nic.address6, nic.gateway6, old.address6 if old else None),
    ):
        # First away with the old: the first address of a network takes the others with it.
        if was and "/" in was and was != address:
            works("nsenter", f"--net=/proc/{pid}/ns/net", "ip", family, "addr", "del", was, "dev", nic.name)
        if address and "/" in address:
            inside(pid, "ip", family, "addr", "replace", address, "dev", nic.name)
        if gateway:
            inside(pid, "ip", family, "route", "replace", "default", "via", gateway, "dev", nic.name)


def interfaces(pid: int) -> list[dict[str, Any]]:
    """The interfaces of a guest's process, in the guest agent's words."""
    return [
        {
            "name": link["ifname"],
            "hardware-address": link.get("address", ""),
            "ip-addresses": [
                {
                    "ip-address": row["local"],
                    "ip-address-type": "ipv6" if row["family"] == "inet6" else "ipv4",
                    "prefix": row["prefixlen"],
                }
                for row in link["addr_info"]
            ],
        }
        for link in json.loads(inside(pid, "ip", "-j", "addr"))
    ]


def inside(pid: int, *argv: str) -> str:
    """Run one of the node's tools in a guest's network."""
    return run("nsenter", f"--net=/proc/{pid}/ns/net", "--", *argv)

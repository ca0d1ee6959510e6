"""What a Proxmox configuration means for the container, without any container."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearth.errors import HearthError
from twin.base import sources_from
from twin.home import vlan_bridge
from twin.pct import options
from twin.real import lxcconf, spec
from twin.real.lxcconf import Places
from twin.real.spec import Spec

GIB = 1024**3


def places(unified: bool = False, devices: int = 0) -> Places:
    """Places of a guest without volumes."""
    nodes = tuple((Path(f"/g/devices/{n}"), "c 10:200") for n in range(devices))
    return Places(Path("/g/root"), {}, nodes, "hearth-twin/x/100", unified, False)


def lines(found: Spec, unified: bool = False) -> set[str]:
    """The lines of its LXC configuration."""
    return set(lxcconf.lxc_config(found, places(unified, len(found.devices)), [0, 1]).splitlines())


def test_a_container_is_read_as_proxmox_writes_it() -> None:
    found = spec.container(
        100,
        {
            "hostname": "comms",
            "memory": 512,
            "cpulimit": "1.5",
            "rootfs": "local-lvm:vm-100-disk-0,size=8G",
            "mp0": "local-lvm:vm-100-disk-1,mp=/data,size=512M",
            "mp1": "/srv/x,mp=/x,ro=1",
            "dev0": "/dev/net/tun,gid=5,mode=0666",
            "net0": "name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:64,"
            "ip=10.0.0.2/24,gw=10.0.0.1,tag=20,type=veth",
            "nameserver": "10.0.0.1 10.0.0.3",
            "unprivileged": 1,
        },
    )
    assert (found.name, found.memory, found.cpulimit, found.root.size) == ("comms", 512, 1.5, 8 * GIB)
    assert [(m.path, m.bound, m.readonly) for m in found.mounts] == [
        ("/data", False, False),
        ("/x", True, True),
    ]
    assert [volume.volume for volume in found.volumes] == [
        "local-lvm:vm-100-disk-0",
        "local-lvm:vm-100-disk-1",
    ]
    assert (found.devices[0].path, found.devices[0].gid, found.devices[0].mode) == ("/dev/net/tun", 5, 0o666)
    assert (found.nics[0].vlan, found.nics[0].gateway) == (20, "10.0.0.1")
    assert found.resolvers == ("10.0.0.1", "10.0.0.3")
    assert found.unprivileged


def test_a_vm_boots_from_the_disk_of_its_boot_order_and_takes_cloud_inits_address() -> None:
    found = spec.machine(
        101,
        {
            "name": "ha",
            "memory": "2048",
            "cores": 2,
            "boot": "order=scsi1",
            "scsi0": "local-lvm:vm-101-disk-0,size=1G",
            "scsi1": "local-lvm:vm-101-disk-1,size=16G",
            "ide2": "local-lvm:vm-101-cloudinit,media=cdrom",
            "net0": "virtio=02:48:00:00:00:65,bridge=vmbr0",
            "ipconfig0": "ip=10.0.0.3/24,gw=10.0.0.1,ip6=fd00::3/64",
            "sshkeys": "ssh-ed25519%20AAAA%20me%0A",
            "agent": "enabled=1,fstrim_cloned_disks=1",
            "ciuser": "root",
        },
    )
    assert (found.root.key, found.root.size, [m.key for m in found.mounts]) == ("scsi1", 16 * GIB, ["scsi0"])
    assert (found.nics[0].mac, found.nics[0].address6) == ("02:48:00:00:00:65", "fd00::3/64")
    assert found.keys == "ssh-ed25519 AAAA me\n"
    assert found.agent
    assert not found.unprivileged
    assert [device.path for device in found.devices] == ["/dev/net/tun"], "its kernel would have it"


def test_ids_are_mapped_only_in_unprivileged_containers() -> None:
    config = {"rootfs": "s:vm-1-disk-0,size=1G"}
    mapped = "lxc.idmap = u 0 100000 65536"
    assert mapped in lines(spec.container(100, {**config, "unprivileged": 1}))
    assert mapped not in lines(spec.container(100, {**config, "unprivileged": 0}))
    assert mapped not in lines(spec.machine(100, {"scsi0": "s:vm-1-disk-0,size=1G"}))


@pytest.mark.parametrize(
    ("unified", "expected"),
    [
        (False, "lxc.cgroup.memory.limit_in_bytes = 536870912"),
        (False, "lxc.cgroup.cpu.cfs_quota_us = 50000"),
        (True, "lxc.cgroup2.memory.max = 536870912"),
        (True, "lxc.cgroup2.cpu.max = 50000 100000"),
        (True, "lxc.cgroup2.cpuset.cpus = 0,1"),
    ],
)
def test_limits_are_written_for_both_versions_of_cgroups(unified: bool, expected: str) -> None:
    found = spec.container(100, {"rootfs": "s:v,size=1G", "memory": 512, "cpulimit": "0.5"})
    assert expected in lines(found, unified)


def test_a_vlan_has_a_bridge_of_its_own() -> None:
    net = "name=eth0,bridge=vmbr0,tag=20,ip=dhcp"
    found = spec.container(100, {"rootfs": "s:v,size=1G", "net0": net})
    assert "lxc.net.0.link = vmbr0v20" in lines(found)
    assert vlan_bridge("vmbr0", None) == "vmbr0"
    assert "iface eth0 inet dhcp" in lxcconf.interfaces(found)


def test_a_linked_down_interface_does_not_come_up() -> None:
    net = "name=eth0,bridge=vmbr0,link_down=1"
    assert "lxc.net.0.flags = up" not in lines(spec.container(1, {"rootfs": "s:v,size=1G", "net0": net}))


def test_the_machines_sources_are_used_for_the_guests() -> None:
    found = sources_from(
        "Debian trixie http://mirror.test/debian/\n"
        "Debian trixie-security http://mirror.test/sec/\n"
        "Other bookworm http://other.test/\n"
    )
    assert (found.archive, found.security) == ("http://mirror.test/debian", "http://mirror.test/sec")
    assert found.lines()[0] == "deb http://mirror.test/debian bookworm main"
    assert sources_from("").archive == "http://deb.debian.org/debian"


def test_pct_reads_options_as_proxmox_does() -> None:
    given = ["--dev0", "/dev/net/tun", "-features=nesting=1", "--mp0", "/a,mp=/b"]
    assert options(given) == {"dev0": "/dev/net/tun", "features": "nesting=1", "mp0": "/a,mp=/b"}
    with pytest.raises(HearthError):
        options(["memory", "1"])


def test_an_interface_with_a_firewall_hangs_on_a_bridge_of_its_own() -> None:
    for config in (
        {"net0": "name=eth0,bridge=vmbr0,tag=20,firewall=1", "net1": "name=eth1,bridge=vmbr0,firewall=0"},
        {
            "net0": "virtio=02:48:00:00:00:64,bridge=vmbr0,firewall=1",
            "net1": "virtio=02:48:00:00:00:65,bridge=vmbr0",
        },
    ):
        read = spec.container if "name" in config["net0"] else spec.machine
        found = lines(read(999999999, {"rootfs": "local-lvm:x", **config}))
        assert {"lxc.net.0.link = fwbr999999999i0", "lxc.net.1.link = vmbr0"} <= found

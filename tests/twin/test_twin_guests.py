"""What the API is told happens to real guests."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from proxmoxer import ProxmoxAPI  # type: ignore[import-untyped]

from tests.twin.handle import IMAGE, NODE, TEMPLATE, TaskFailed, TwinHandle, until
from twin import cgroups
from twin.state import read_json

MIB = 1024**2


def payload(twin: TwinHandle, vmid: int, controller: str, v1: str, v2: str) -> str:
    """What a file of a guest's cgroup says."""
    name = v2 if cgroups.unified() else v1
    return (cgroups.tree(controller) / twin.twin.cgroup / str(vmid) / "payload" / name).read_text().strip()


def memory(twin: TwinHandle, vmid: int) -> int:
    """The memory limit of a guest in MiB."""
    return int(payload(twin, vmid, "memory", "memory.limit_in_bytes", "memory.max")) // MIB


def disk_mib(twin: TwinHandle, address: str, path: str = "/") -> int:
    """The size of a guest's file system in MiB."""
    return int(twin.said(address, "df", "-m", "--output=size", path).split()[-1])


def test_a_container_made_with_proxmoxer_answers_ssh_at_its_address(twin: TwinHandle) -> None:
    twin.images()
    token = read_json(twin.twin.private / "tokens.json")["hearth"]
    user, _, rest = token.partition("!")
    name, _, value = rest.partition("=")

    def make() -> None:
        api = ProxmoxAPI(
            *(NODE,),
            user=user,
            token_name=name,
            token_value=value,
            verify_ssl=str(twin.twin.dir / "ca.pem"),
            timeout=30,
        )
        net = "name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:D3,ip=192.168.1.211/24,gw=192.168.1.1"
        more = {"ssh-public-keys": twin.public, "net0": net, "rootfs": "local-lvm:4"}
        upid = api.nodes("pve").lxc.post(
            vmid=211,
            hostname="plain",
            ostemplate=TEMPLATE,
            storage="local-lvm",
            start=1,
            unprivileged=1,
            **more,
        )
        until(lambda: api.nodes("pve").tasks(upid).status.get().get("exitstatus"))

    twin.call(make)
    try:
        assert twin.said("192.168.1.211", "hostname") == "plain"
        assert twin.said("192.168.1.211", "cat /proc/self/uid_map").split() == ["0", "100000", "65536"]
    finally:
        twin.remove("lxc", 211)


def test_a_container_boots_without_a_failed_unit(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(212)
    assert twin.said(address, "systemctl", "is-system-running", "--wait") == "running"


def test_a_privileged_container_has_the_machines_ids(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(213, unprivileged=0)
    assert twin.said(address, "cat /proc/self/uid_map").split()[1] == "0"


def test_addresses_of_both_families_are_reached(twin: TwinHandle, guest: Callable[..., str]) -> None:
    net = "name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:D6,ip=192.168.1.214/24,ip6=fd48:6561:7274::214/64"
    guest(214, net0=net)
    assert twin.said("192.168.1.214", "cat /sys/class/net/eth0/address") == "02:48:00:00:00:d6"
    assert twin.said("fd48:6561:7274::214", "hostname") == "ct214"


def test_stop_shutdown_and_start_are_real(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(215)
    twin.said(address, "touch /root/kept && sync")
    for how in ("stop", "shutdown"):
        twin.task("POST", f"/nodes/pve/lxc/215/status/{how}")
        assert not cgroups.members(f"{twin.twin.cgroup}/215")
        twin.task("POST", "/nodes/pve/lxc/215/status/start")
        assert twin.said(address, "ls /root") == "kept"


def test_a_reboot_gives_a_new_boot_id(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(216)
    before = twin.said(address, "cat /proc/sys/kernel/random/boot_id")
    twin.task("POST", "/nodes/pve/lxc/216/status/reboot")
    assert twin.said(address, "cat /proc/sys/kernel/random/boot_id") != before


def test_a_guest_that_powers_itself_off_shows_as_stopped(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(217)
    twin.said(address, "(sleep 0.3; systemctl poweroff) >/dev/null 2>&1 &")
    until(lambda: twin.api("GET", "/nodes/pve/lxc/217/status/current")["status"] == "stopped" or None)


def test_memory_and_cores_change_while_it_runs(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(218, memory=256, cores=1)
    assert memory(twin, 218) == 256
    assert twin.said(address, "nproc") == "1"
    twin.api("PUT", "/nodes/pve/lxc/218/config", memory=384, cores=2)
    assert memory(twin, 218) == 384
    assert twin.said(address, "nproc") == str(min(2, os.cpu_count() or 1))
    twin.api("PUT", "/nodes/pve/lxc/218/config", cores=1)
    assert twin.said(address, "nproc") == "1"


def test_memory_is_a_limit(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(219, memory=128, swap=0)
    done = twin.ssh(address, "head -c 300M /dev/zero | tail | wc -c")
    assert done.stdout.strip() != str(300 * MIB)


def test_a_disk_grows_while_it_is_used_and_its_size_is_a_limit(
    twin: TwinHandle, guest: Callable[..., str]
) -> None:
    address = guest(220, rootfs="local-lvm:1")
    assert disk_mib(twin, address) == pytest.approx(1024, abs=80)
    assert twin.ssh(address, "head -c 1200M /dev/zero > /root/big; rm /root/big").stderr.count(
        "No space left"
    )
    twin.task("PUT", "/nodes/pve/lxc/220/resize", disk="rootfs", size="2G")
    assert disk_mib(twin, address) == pytest.approx(2048, abs=80)
    with pytest.raises(requests.HTTPError, match="shrink"):
        twin.task("PUT", "/nodes/pve/lxc/220/resize", disk="rootfs", size="1G")


def test_rollback_brings_back_a_file(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(221)
    twin.said(address, "echo old > /root/file")
    twin.task("POST", "/nodes/pve/lxc/221/snapshot", snapname="before")
    twin.said(address, "echo new > /root/file; touch /root/more")
    twin.task("POST", "/nodes/pve/lxc/221/snapshot/before/rollback", start=1)
    assert twin.said(address, "cat /root/file; ls /root").split() == ["old", "file"]
    twin.task("DELETE", "/nodes/pve/lxc/221/snapshot/before")
    assert not list((twin.twin.guests / "221" / "snapshots").iterdir())


def test_a_clone_has_the_files_and_a_life_of_its_own(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(222)
    twin.said(address, "touch /root/mine")
    twin.task("POST", "/nodes/pve/lxc/222/status/stop")
    twin.task("POST", "/nodes/pve/lxc/222/clone", newid=223, hostname="copy", full=1)
    try:
        net = "name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:DF,ip=192.168.1.223/24"
        twin.api("PUT", "/nodes/pve/lxc/223/config", net0=net)
        twin.task("POST", "/nodes/pve/lxc/223/status/start")
        twin.task("POST", "/nodes/pve/lxc/222/status/start")
        assert twin.said("192.168.1.223", "hostname; ls /root").split() == ["copy", "mine"]
        assert twin.said(address, "hostname") == "ct222"
    finally:
        twin.remove("lxc", 223)


def test_a_volume_is_mounted_at_its_path_with_its_size(twin: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(224, mp0="local-lvm:1,mp=/data")
    assert disk_mib(twin, address, "/data") == pytest.approx(1024, abs=80)
    twin.said(address, "touch /data/kept")
    twin.task("POST", "/nodes/pve/lxc/224/status/reboot")
    assert twin.said(address, "ls /data") == "kept"


def test_an_address_changes_while_it_runs(twin: TwinHandle, guest: Callable[..., str]) -> None:
    guest(225)
    net = "name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:E1,ip=192.168.1.226/24,gw=192.168.1.1"
    twin.api("PUT", "/nodes/pve/lxc/225/config", net0=net)
    assert twin.said("192.168.1.226", "hostname") == "ct225"


def test_a_start_that_fails_ends_the_task_with_lxcs_reason(
    twin: TwinHandle, guest: Callable[..., str], tmp_path: Path
) -> None:
    guest(227, start=False)
    twin.as_root("PUT", "/nodes/pve/lxc/227/config", mp0=f"{tmp_path},mp=/etc/passwd/nowhere")
    with pytest.raises(TaskFailed, match=r"startup for container '227' failed.*Failed to"):
        twin.task("POST", "/nodes/pve/lxc/227/status/start")
    assert twin.api("GET", "/nodes/pve/lxc/227/status/current")["status"] == "stopped"


def test_a_destroyed_container_leaves_nothing(twin: TwinHandle) -> None:
    twin.container(228)
    twin.remove("lxc", 228)
    assert not (twin.twin.guests / "228").exists()
    assert not any((top / twin.twin.cgroup / "228").exists() for top in cgroups.trees())


@pytest.fixture
def machine(twin: TwinHandle) -> Iterator[str]:
    """A VM with cloud-init; its address."""
    twin.images()
    twin.task(
        *("POST", "/nodes/pve/qemu"),
        vmid=230,
        name="vm230",
        memory=256,
        cores=1,
        scsi0=f"local-lvm:0,import-from={IMAGE}",
        ide2="local-lvm:cloudinit",
        boot="order=scsi0",
        ciuser="root",
        sshkeys=quote(twin.public, safe=""),
        ipconfig0="ip=192.168.1.230/24,gw=192.168.1.1",
        net0="virtio=02:48:00:00:00:E6,bridge=vmbr0",
        agent="1",
        scsihw="virtio-scsi-single",
    )
    yield "192.168.1.230"
    twin.remove("qemu", 230)


def test_a_vm_takes_its_name_address_and_keys_from_cloud_init(twin: TwinHandle, machine: str) -> None:
    twin.task("PUT", "/nodes/pve/qemu/230/resize", disk="scsi0", size="5G")
    twin.task("POST", "/nodes/pve/qemu/230/status/start")
    assert twin.said(machine, "hostname; cat /sys/class/net/eth0/address").split() == [
        "vm230",
        "02:48:00:00:00:e6",
    ]
    assert disk_mib(twin, machine) == pytest.approx(5 * 1024, abs=100)
    assert memory(twin, 230) == 256


def test_a_vms_agent_answers_once_it_is_installed(twin: TwinHandle, machine: str) -> None:
    twin.task("POST", "/nodes/pve/qemu/230/status/start")
    path = "/nodes/pve/qemu/230/agent/network-get-interfaces"
    twin.said(machine, "true")
    with pytest.raises(requests.HTTPError, match="agent is not running"):
        twin.api("GET", path)
    twin.said(machine, "touch /usr/sbin/qemu-ga")
    rows = {row["name"]: row for row in twin.api("GET", path)["result"]}
    assert "192.168.1.230" in {entry["ip-address"] for entry in rows["eth0"]["ip-addresses"]}


def test_a_vms_snapshot_brings_back_a_file(twin: TwinHandle, machine: str) -> None:
    twin.task("POST", "/nodes/pve/qemu/230/status/start")
    twin.said(machine, "touch /root/old && sync")
    twin.task("POST", "/nodes/pve/qemu/230/snapshot", snapname="before")
    twin.said(machine, "rm /root/old")
    twin.task("POST", "/nodes/pve/qemu/230/snapshot/before/rollback")
    twin.task("POST", "/nodes/pve/qemu/230/status/start")
    assert twin.said(machine, "ls /root") == "old"


def test_a_guest_has_the_python_that_home_assistant_needs(
    twin: TwinHandle, guest: Callable[..., str]
) -> None:
    """With its own libraries, and the guest's names: what uv builds an environment on."""
    asked = "import ssl, sqlite3, ctypes, pwd, sys; print(sys.version_info[:2], pwd.getpwuid(0).pw_name)"
    assert twin.said(guest(213), "python3.14", "-c", shlex.quote(asked)) == "(3, 14) root"

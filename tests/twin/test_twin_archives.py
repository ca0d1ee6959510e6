"""vzdump and restore of real guests: their files, ids and further disks; and a node without its storages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.twin.handle import IMAGE, TaskFailed, TwinHandle, until

pytestmark = pytest.mark.slow
DUMP = "/nodes/pve/vzdump"
CONTENT = "/nodes/pve/storage/local/content"
DISK = "local-lvm:1,mp=/srv/kept,backup=1"


@pytest.fixture
def archives(twin: TwinHandle) -> Iterator[Path]:
    """The folder of the storage's backups; empty before and afterwards."""
    folder = twin.twin.dir / "storages/local/dump"
    yield folder
    for file in folder.glob("vzdump-*"):
        file.unlink()


def backed_up(twin: TwinHandle, vmid: int, **how: Any) -> str:
    """Back a guest up; the backup's volume ID."""
    log = twin.task("POST", DUMP, vmid=vmid, storage="local", compress="zstd", **how)
    assert "INFO: Backup job finished successfully" in log
    return max(str(row["volid"]) for row in twin.api("GET", CONTENT, content="backup") if row["vmid"] == vmid)


def restored(twin: TwinHandle, vmid: int, volid: str) -> str:
    twin.task("POST", "/nodes/pve/lxc", vmid=vmid, ostemplate=volid, restore=1, storage="local-lvm")
    twin.task("POST", f"/nodes/pve/lxc/{vmid}/status/start")
    return f"192.168.1.{vmid}"


def test_a_running_container_comes_back_as_it_was(
    twin: TwinHandle, guest: Callable[..., str], archives: Path
) -> None:
    address = guest(221, mp0=DISK)
    script = (
        "echo own >/root/own; chown nobody:daemon /root/own; chmod 640 /root/own; echo kept >/srv/kept/data; "
        "rm /etc/issue; systemctl disable --now cron.service"
    )
    twin.said(address, script)
    facts = (
        "cat /root/own /srv/kept/data /etc/machine-id; stat -c '%U %G %a' /root/own; "
        "cat /etc/ssh/ssh_host_ed25519_key.pub; ls /etc/issue 2>&1; systemctl is-enabled cron; "
        "df -m / | tail -1"
    )
    before = twin.ssh(address, facts).stdout.splitlines()
    volid = backed_up(twin, 221)
    assert twin.said(address, "systemctl is-system-running") == "running", "it ran on meanwhile"
    twin.said(address, "echo newer >/root/own; echo newer >/srv/kept/data")
    twin.remove("lxc", 221)
    restored(twin, 221, volid)
    after = twin.ssh(address, facts).stdout.splitlines()
    assert after[:-1] == before[:-1]
    assert after[-1].split()[1] == before[-1].split()[1], "a disk of the same size"
    assert twin.said(address, "systemctl is-system-running --wait") == "running"
    assert twin.said(address, "cat /proc/self/uid_map").split() == ["0", "100000", "65536"]
    again = backed_up(twin, 221)
    twin.remove("lxc", 221)
    restored(twin, 221, again)
    assert twin.ssh(address, facts).stdout.splitlines()[:-1] == before[:-1], "and a backup of what came back"


def test_a_guest_at_rest_and_one_that_is_stopped_for_it(
    twin: TwinHandle, guest: Callable[..., str], archives: Path
) -> None:
    address = guest(222)
    twin.said(address, "echo one >/root/own")
    stopped = backed_up(twin, 222, mode="stop")
    assert until(lambda: twin.said(address, "cat /root/own") or None) == "one", "it was started again"
    twin.task("POST", "/nodes/pve/lxc/222/status/stop")
    twin.remove("lxc", 222)
    restored(twin, 222, stopped)
    assert twin.said(address, "cat /root/own") == "one"


def test_a_vm_comes_back_too(twin: TwinHandle, archives: Path) -> None:
    twin.images()
    net = {"net0": "virtio=02:48:00:00:00:DF,bridge=vmbr0", "ipconfig0": "ip=192.168.1.223/24,gw=192.168.1.1"}
    disk = f"local-lvm:0,import-from={IMAGE}"
    keys = requests.utils.quote(twin.public, safe="")  # type: ignore[attr-defined]
    more = {"memory": 512, "sshkeys": keys, "ciuser": "debian", "scsi0": disk, "tags": "hearth", **net}
    twin.task("POST", "/nodes/pve/qemu", vmid=223, name="machine", **more)
    twin.task("POST", "/nodes/pve/qemu/223/status/start")
    try:
        address = "192.168.1.223"
        assert twin.ssh(address, "echo own >own", user="debian").returncode == 0
        volid = backed_up(twin, 223)
        assert volid.endswith(".vma.zst")
        twin.remove("qemu", 223)
        twin.task("POST", "/nodes/pve/qemu", vmid=223, archive=volid, storage="local-lvm")
        twin.task("POST", "/nodes/pve/qemu/223/status/start")
        assert twin.ssh(address, "cat own", user="debian").stdout.strip() == "own"
    finally:
        twin.remove("qemu", 223)


def test_half_written_and_damaged_archives_fail_and_leave_no_guest(
    twin: TwinHandle, guest: Callable[..., str], archives: Path
) -> None:
    guest(224)
    volid = backed_up(twin, 224)
    twin.remove("lxc", 224)
    file = archives / volid.rpartition("/")[2]
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        file.write_bytes(content)
        with pytest.raises(TaskFailed, match=r"unable to restore CT 224 - .*failed: exit code"):
            restored(twin, 224, volid)
        assert 224 not in {row["vmid"] for row in twin.api("GET", "/nodes/pve/lxc")}
        assert not (twin.twin.guests / "224").exists()
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(requests.HTTPError, match="no configuration file"):
        twin.api("GET", f"{DUMP}/extractconfig", volume=volid)
    file.unlink()
    assert volid not in {row["volid"] for row in twin.api("GET", CONTENT, content="backup")}
    with pytest.raises(requests.HTTPError, match="does not exist"):
        restored(twin, 224, volid)


def test_a_backup_that_is_deleted_is_gone(
    twin: TwinHandle, guest: Callable[..., str], archives: Path
) -> None:
    guest(225)
    volid = backed_up(twin, 225)
    assert (archives / volid.rpartition("/")[2]).exists()
    twin.as_root("DELETE", f"{CONTENT}/{volid}")
    until(lambda: not (archives / volid.rpartition("/")[2]).exists() or None)
    assert twin.api("GET", CONTENT, content="backup") == []


def test_a_disaster_takes_all_but_the_node(
    unwalled_twin: TwinHandle,
) -> None:
    twin = unwalled_twin
    address = twin.container(226)
    twin.said(address, "echo own >/root/own")
    volid = backed_up(twin, 226)
    assert "ct226" in twin.command("disaster").stdout
    assert twin.api("GET", "/nodes/pve/lxc") == []
    assert list(twin.twin.guests.iterdir()) == []
    left = twin.api("GET", CONTENT)
    assert [row["volid"] for row in left] == [volid], "neither templates nor images"
    assert twin.api("GET", "/nodes/pve/storage/local-lvm/content") == []
    restored(twin, 226, volid)
    assert twin.said(address, "cat /root/own") == "own"
    assert twin.command("disaster", "--backups").returncode == 0
    assert twin.api("GET", CONTENT) == []
    assert twin.command("disaster").stdout == "lost: nothing\n"

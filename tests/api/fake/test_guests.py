"""What a create shows while it runs, defaults by version, disks, hotplug, space."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.api.fake.conftest import Call, outcome
from twin.pve import Pve, Server
from twin.pve.furnish import DEBIAN_IMAGE, DEBIAN_TEMPLATE

CT: dict[str, Any] = {
    "ostemplate": DEBIAN_TEMPLATE,
    "rootfs": "local-lvm:1",
    "hostname": "c",
    "tags": "hearth",
}
VM: dict[str, Any] = {"name": "v", "memory": 512, "net0": "virtio,bridge=vmbr0"}


@pytest.mark.pve(time_scale=0.02)
def test_a_running_create_shows_only_its_lock_and_writes_wait_for_it(root: Call, pve: Pve) -> None:
    pve.ct_secs["create"] = 5
    created = root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    config = root("GET", "/nodes/pve/lxc/100/config").json()["data"]
    assert {key: value for key, value in config.items() if key != "digest"} == {"lock": "create"}
    listed = root("GET", "/nodes/pve/lxc").json()["data"][0]
    assert (listed["lock"], listed["name"], listed.get("tags")) == ("create", "CT100", None)
    assert root("PUT", "/nodes/pve/lxc/100/config", memory=256).status_code == 200
    assert outcome(root, created) == "WARNINGS: 1"
    assert root("GET", "/nodes/pve/lxc/100/config").json()["data"]["memory"] == 256


@pytest.mark.pve(time_scale=0.02)
def test_a_vm_being_created_has_no_name_yet(root: Call, pve: Pve) -> None:
    pve.task_secs["qmcreate"] = 5
    created = root("POST", "/nodes/pve/qemu", vmid=100, tags="hearth", **VM)
    listed = root("GET", "/nodes/pve/qemu").json()["data"][0]
    assert (listed["lock"], listed["name"], listed.get("tags")) == ("create", "VM 100", None)
    assert outcome(root, created) == "OK"
    assert root("GET", "/nodes/pve/qemu").json()["data"][0]["name"] == "v"


@pytest.mark.parametrize(
    ("version", "unprivileged", "exit_status"),
    [
        pytest.param("8.4.21", None, "OK", marks=pytest.mark.pve(version="8.4.21")),
        pytest.param("9.2.11", 1, "WARNINGS: 1", marks=pytest.mark.pve(version="9.2.11")),
    ],
)
def test_defaults_of_the_version(
    root: Call, version: str, unprivileged: int | None, exit_status: str
) -> None:
    created = root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    assert outcome(root, created) == exit_status
    assert root("GET", "/nodes/pve/lxc/100/config").json()["data"].get("unprivileged") == unprivileged


def test_nesting_silences_the_warning(root: Call) -> None:
    created = root("POST", "/nodes/pve/lxc", vmid=100, features="nesting=1", **CT)
    assert outcome(root, created) == "OK"


@pytest.mark.parametrize(
    ("version", "tags"),
    [
        pytest.param("8.4.21", "Zeta,alpha", marks=pytest.mark.pve(version="8.4.21")),
        pytest.param("9.2.11", "alpha;zeta", marks=pytest.mark.pve(version="9.2.11")),
    ],
)
def test_tags_of_a_new_vm(root: Call, version: str, tags: str) -> None:
    root("POST", "/nodes/pve/qemu", vmid=100, tags="Zeta,alpha", **VM)
    assert root("GET", "/nodes/pve/qemu/100/config").json()["data"]["tags"] == tags


def test_a_vm_from_a_cloud_image(hearth: Call, pve: Pve) -> None:
    drive = f"local-lvm:0,import-from={DEBIAN_IMAGE},discard=on"
    created = hearth(
        "POST", "/nodes/pve/qemu", vmid=100, scsi0=drive, ide2="local-lvm:cloudinit", cipassword="s", **VM
    )
    assert outcome(hearth, created) == "OK"
    config = hearth("GET", "/nodes/pve/qemu/100/config").json()["data"]
    assert config["scsi0"] == "local-lvm:vm-100-disk-0,discard=on,size=2G"
    assert config["ide2"] == "local-lvm:vm-100-cloudinit,media=cdrom"
    assert config["cipassword"] == "**********"
    assert set(pve.storages["local-lvm"]["volumes"]) == {"vm-100-disk-0", "vm-100-cloudinit"}
    hearth("DELETE", "/nodes/pve/qemu/100", purge=1)
    assert pve.storages["local-lvm"]["volumes"] == {}


def test_an_image_that_is_not_there_fails_in_the_task_and_leaves_nothing(root: Call, pve: Pve) -> None:
    created = root(
        "POST", "/nodes/pve/qemu", vmid=100, scsi0="local-lvm:0,import-from=local:import/no.qcow2", **VM
    )
    assert outcome(root, created) == "unable to create VM 100 - volume 'local:import/no.qcow2' does not exist"
    assert (pve.vm(100), pve.storages["local-lvm"]["volumes"]) == (None, {})


def test_the_same_disk_again_is_another_disk(root: Call) -> None:
    root("POST", "/nodes/pve/qemu", vmid=100, **VM)
    for _ in range(2):
        root("PUT", "/nodes/pve/qemu/100/config", scsi1="local-lvm:1")
    config = root("GET", "/nodes/pve/qemu/100/config").json()["data"]
    assert (config["scsi1"], config["unused0"]) == (
        "local-lvm:vm-100-disk-1,size=1G",
        "local-lvm:vm-100-disk-0",
    )
    root("PUT", "/nodes/pve/qemu/100/config", delete="unused0,scsi1", force=1)
    assert "unused0" not in root("GET", "/nodes/pve/qemu/100/config").json()["data"]


def test_the_same_mount_point_again_is_another_volume(root: Call, pve: Pve) -> None:
    root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    for _ in range(2):
        root("PUT", "/nodes/pve/lxc/100/config", mp0="local-lvm:1,mp=/data,backup=1")
    config = root("GET", "/nodes/pve/lxc/100/config").json()["data"]
    assert config["mp0"] == "local-lvm:vm-100-disk-2,mp=/data,backup=1,size=1G"
    assert config["unused0"] == "local-lvm:vm-100-disk-1"
    root("PUT", "/nodes/pve/lxc/100/config", delete="unused0")
    assert "vm-100-disk-1" not in pve.storages["local-lvm"]["volumes"]


def test_a_running_vm_takes_a_disk_at_once_and_memory_at_its_restart(root: Call, pve: Pve) -> None:
    root("POST", "/nodes/pve/qemu", vmid=100, start=1, **VM)
    root(
        "PUT",
        "/nodes/pve/qemu/100/config",
        scsi1="local-lvm:1",
        memory=1024,
        cores=2,
        net0="virtio,bridge=vmbr0",
    )
    rows = {row["key"]: row for row in root("GET", "/nodes/pve/qemu/100/pending").json()["data"]}
    assert "pending" not in rows["scsi1"]
    assert (rows["memory"]["value"], rows["memory"]["pending"]) == ("512", "1024")
    assert (rows["cores"].get("value"), rows["cores"]["pending"]) == (None, 2)
    assert root("GET", "/nodes/pve/qemu/100/config", current=1).json()["data"]["memory"] == "512"
    root("POST", "/nodes/pve/qemu/100/status/reboot")
    assert root("GET", "/nodes/pve/qemu/100/config", current=1).json()["data"]["memory"] == "1024"
    assert pve.vm(100).pending == {}


def test_a_disk_that_waited_for_a_restart_and_was_replaced_is_kept(root: Call) -> None:
    root("POST", "/nodes/pve/qemu", vmid=100, start=1, **VM)
    for _ in range(2):
        root("PUT", "/nodes/pve/qemu/100/config", sata0="local-lvm:1")
    rows = {row["key"]: row for row in root("GET", "/nodes/pve/qemu/100/pending").json()["data"]}
    assert rows["unused0"]["value"] == "local-lvm:vm-100-disk-0"
    assert rows["sata0"]["pending"] == "local-lvm:vm-100-disk-1,size=1G"


def test_a_vm_disk_grows_and_never_shrinks(root: Call, pve: Pve) -> None:
    root("POST", "/nodes/pve/qemu", vmid=100, scsi0="local-lvm:2", **VM)
    left = pve.storages["local-lvm"]["avail"]
    assert outcome(root, root("PUT", "/nodes/pve/qemu/100/resize", disk="scsi0", size="3G")) == "OK"
    assert "size=3G" in root("GET", "/nodes/pve/qemu/100/config").json()["data"]["scsi0"]
    assert left - pve.storages["local-lvm"]["avail"] == 1024**3
    shrunk = root("PUT", "/nodes/pve/qemu/100/resize", disk="scsi0", size="1G")
    assert outcome(root, shrunk) == "shrinking disks is not supported"
    absent = root("PUT", "/nodes/pve/qemu/100/resize", disk="scsi7", size="9G")
    assert outcome(root, absent) == "disk 'scsi7' does not exist"


def test_a_full_storage_fails_every_way_to_take_space(root: Call, pve: Pve) -> None:
    root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    pve.storages["local-lvm"]["avail"] = 0
    for created in (
        root("POST", "/nodes/pve/lxc", vmid=101, **CT),
        root("POST", "/nodes/pve/qemu", vmid=102, scsi0="local-lvm:1", **VM),
    ):
        assert "No space left on device" in outcome(root, created)
    grown = root("PUT", "/nodes/pve/lxc/100/resize", disk="rootfs", size="+1G")
    assert "No space left on device" in outcome(root, grown)
    assert "No space" in root("PUT", "/nodes/pve/lxc/100/config", mp0="local-lvm:1,mp=/x").reason
    assert (pve.guest(101), pve.guest(102)) == (None, None)


def test_a_missing_bridge_is_found_at_the_start(root: Call, pve: Pve) -> None:
    created = root("POST", "/nodes/pve/lxc", vmid=100, net0="name=eth0,bridge=vmbr7", start=1, **CT)
    assert outcome(root, created) == "bridge 'vmbr7' does not exist"
    assert pve.ct(100).status == "stopped"


def test_a_guest_that_goes_takes_its_firewall_and_permissions_along(root: Call, pve: Pve) -> None:
    for kind, more in (("lxc", CT), ("qemu", VM)):
        root("POST", f"/nodes/pve/{kind}", vmid=100, **more)
        root("PUT", f"/nodes/pve/{kind}/100/firewall/options", enable=1)
        root("PUT", "/access/acl", path="/vms/100", roles="PVEAuditor", users="hearth@pve")
        root("DELETE", f"/nodes/pve/{kind}/100")
        assert pve.guest(100) is None
        assert "enable" not in root("GET", f"/nodes/pve/{kind}/100/firewall/options").json()["data"]
        assert all(e["path"] != "/vms/100" for e in root("GET", "/access/acl").json()["data"])


def test_a_token_may_not_skip_locks(root: Call, pve: Pve) -> None:
    pve.add_vm(100, "v", node="pve", status="running")
    pve.snapshot_lock(100)
    for method, path in (("POST", "/status/stop"), ("DELETE", ""), ("PUT", "/config")):
        answer = root(method, f"/nodes/pve/qemu/100{path}", skiplock=1)
        assert answer.status_code == 400, path
        assert answer.json()["errors"] == {"skiplock": "Only root may use this option."}


def test_what_the_guest_agent_says(root: Call, pve: Pve) -> None:
    pve.add_vm(100, "v", node="pve")
    said = [root("POST", "/nodes/pve/qemu/100/agent/ping").reason]
    root("PUT", "/nodes/pve/qemu/100/config", agent="1")
    said.append(root("POST", "/nodes/pve/qemu/100/agent/ping").reason)
    root("POST", "/nodes/pve/qemu/100/status/start")
    said.append(root("POST", "/nodes/pve/qemu/100/agent/ping").reason)
    pve.vm(100).agent = {}
    said.append(root("POST", "/nodes/pve/qemu/100/agent/ping").json()["data"])
    assert said == [
        "No QEMU guest agent configured",
        "VM 100 is not running",
        "QEMU guest agent is not running",
        {"result": {}},
    ]


def test_hooks_are_called_with_the_guest_in_its_state(pve_certificates: Any) -> None:
    """What a twin relies on: each hook once, in order, inside the task."""
    from pathlib import Path

    from tests.api.fake.conftest import client
    from twin.pve import furnish

    called: list[str] = []

    class Watching(Pve):
        async def real_create(self, guest: Any, request: dict[str, Any]) -> None:
            called.append(f"create {guest.config.get('hostname') or guest.config.get('name')}")

        async def real_start(self, guest: Any) -> None:
            called.append(f"start {guest.status}")

        async def real_change(self, guest: Any, keys: list[str]) -> None:
            called.append(f"change {','.join(keys)}")

        async def real_resize(self, guest: Any, disk: str) -> None:
            called.append(f"resize {disk}")

        async def real_snapshot(self, guest: Any, name: str) -> None:
            called.append(f"snapshot {name}")

        async def real_stop(self, guest: Any, clean: bool, timeout: float) -> None:
            called.append(f"stop clean={clean}")

        async def real_destroy(self, guest: Any) -> None:
            called.append("destroy")

    pve = Watching()
    tokens = furnish(pve)
    with Server(pve, Path(pve_certificates)) as server:
        call = client(server, tokens.root)
        for kind, disk, more in (("lxc", "rootfs", CT), ("qemu", "scsi0", {**VM, "scsi0": "local-lvm:1"})):
            called.clear()
            call("POST", f"/nodes/pve/{kind}", vmid=100, start=1, **more)
            call("PUT", f"/nodes/pve/{kind}/100/config", tags="x")
            call("PUT", f"/nodes/pve/{kind}/100/resize", disk=disk, size="+1G")
            call("POST", f"/nodes/pve/{kind}/100/snapshot", snapname="before")
            call("POST", f"/nodes/pve/{kind}/100/status/shutdown")
            call("DELETE", f"/nodes/pve/{kind}/100")
            assert called == [
                f"create {'c' if kind == 'lxc' else 'v'}",
                "start stopped",
                "change tags",
                f"resize {disk}",
                "snapshot before",
                "stop clean=True",
                "destroy",
            ]


@pytest.mark.parametrize(
    ("kind", "net"), [("lxc", "name=eth0,bridge=vmbr0"), ("qemu", "virtio,bridge=vmbr0")]
)
def test_a_card_sent_without_its_mac_gets_a_new_one_every_time(root: Call, kind: str, net: str) -> None:
    root("POST", f"/nodes/pve/{kind}", vmid=100, **(CT if kind == "lxc" else VM))
    seen = set()
    for _ in range(3):
        root("PUT", f"/nodes/pve/{kind}/100/config", net0=net)
        seen.add(root("GET", f"/nodes/pve/{kind}/100/config").json()["data"]["net0"])
    assert len(seen) == 3
    kept = seen.pop()
    root("PUT", f"/nodes/pve/{kind}/100/config", net0=kept)
    assert root("GET", f"/nodes/pve/{kind}/100/config").json()["data"]["net0"] == kept


def test_a_forced_create_destroys_what_runs(root: Call, pve: Pve) -> None:
    root("POST", "/nodes/pve/lxc", vmid=100, start=1, **CT)
    refused = root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    assert (refused.status_code, refused.reason) == (500, "CT 100 already exists on node 'pve'")
    assert root("POST", "/nodes/pve/lxc", vmid=100, force=1, **CT).status_code == 200
    assert pve.ct(100).status == "stopped"


def test_a_container_becomes_a_template_at_once_and_a_vm_by_a_task(root: Call) -> None:
    root("POST", "/nodes/pve/lxc", vmid=100, **CT)
    root("POST", "/nodes/pve/qemu", vmid=101, **VM)
    assert root("POST", "/nodes/pve/lxc/100/template").json()["data"] is None
    assert root("GET", "/nodes/pve/lxc/100/config").json()["data"]["template"] == 1
    assert outcome(root, root("POST", "/nodes/pve/qemu/101/template")) == "OK"


def test_a_vm_config_request_of_nothing_is_an_error(root: Call, pve: Pve) -> None:
    pve.add_vm(100, "v", node="pve")
    for method in ("PUT", "POST"):
        answer = root(method, "/nodes/pve/qemu/100/config")
        assert (answer.status_code, answer.reason) == (500, "no options specified")


def test_a_stale_digest_of_a_vm_is_refused_at_once_in_either_way(root: Call, pve: Pve) -> None:
    pve.add_vm(100, "v", node="pve")
    for method in ("PUT", "POST"):
        answer = root(method, "/nodes/pve/qemu/100/config", digest="0" * 40, memory=700)
        assert (answer.status_code, answer.reason) == (500, "checksum mismatch (file change by other user?)")
    current = root("GET", "/nodes/pve/qemu/100/config").json()["data"]["digest"]
    assert root("PUT", "/nodes/pve/qemu/100/config", digest=current, memory=700).status_code == 200
    assert root("PUT", "/nodes/pve/qemu/100/config", digest=current, memory=800).status_code == 500


@pytest.mark.parametrize("kind", ["lxc", "qemu"])
def test_a_guest_that_does_not_shut_down_is_killed_where_forced(root: Call, pve: Pve, kind: str) -> None:
    root("POST", f"/nodes/pve/{kind}", vmid=100, start=1, **(CT if kind == "lxc" else VM))
    pve.guest(100).shutdown_secs = 100
    asked = root("POST", f"/nodes/pve/{kind}/100/status/shutdown", timeout=3)
    assert outcome(root, asked) not in ("OK", "")
    assert pve.guest(100).status == "running"
    forced = root("POST", f"/nodes/pve/{kind}/100/status/shutdown", timeout=3, forceStop=1)
    assert outcome(root, forced) == "OK"
    assert pve.guest(100).status == "stopped"


def test_nextid_reserves_nothing(root: Call) -> None:
    assert {root("GET", "/cluster/nextid").json()["data"] for _ in range(2)} == {"100"}


def test_creates_at_the_same_time_do_not_mix(root: Call, pve: Pve) -> None:
    threads = [
        threading.Thread(target=root, args=("POST", "/nodes/pve/lxc"), kwargs={"vmid": 100 + n, **CT})
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    volumes = sorted(pve.storages["local-lvm"]["volumes"])
    assert volumes == [f"vm-{100 + n}-disk-0" for n in range(5)]

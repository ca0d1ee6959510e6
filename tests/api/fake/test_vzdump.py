"""Backups of guests by vzdump, and guests from them: as recorded, and what no recording has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from recorded_node import recorded_server
from replay import recordings

from tests.api.fake.conftest import Call, client, outcome
from twin.pve import Pve, Server
from twin.pve.vzdump import kept

DUMP = "/nodes/pve/vzdump"
CONTENT = "/nodes/pve/storage/local/content"


@pytest.fixture
def guests(pve: Pve) -> Pve:
    """A container and a VM, both ours."""
    disk = {"rootfs": "local-lvm:vm-135-disk-0,size=8G", "mp0": "local-lvm:d1,mp=/data,backup=1,size=2G"}
    pve.add_ct(
        135, node="pve", config={"hostname": "comms", "tags": "hearth", "memory": 512, **disk}, defaults=False
    )
    vm = pve.add_vm(136, "database", node="pve")
    vm.config = {"name": "database", "scsi0": "local-lvm:vm-136-disk-0,discard=on,size=16G", "memory": "2048"}
    return pve


def dumped(call: Call, **params: Any) -> str:
    return outcome(call, call("POST", DUMP, **{"storage": "local", "compress": "zstd", **params}))


def shown(call: Call) -> list[dict[str, Any]]:
    return list(call("GET", CONTENT, content="backup").json()["data"])


def log_of(call: Call) -> list[str]:
    upid = call("GET", "/nodes/pve/tasks", typefilter="vzdump", limit=1).json()["data"][0]["upid"]
    return [row["t"] for row in call("GET", f"/nodes/pve/tasks/{upid}/log", limit=500).json()["data"]]


def test_a_backup_is_there_with_its_configuration(guests: Pve, root: Call) -> None:
    assert dumped(root, vmid="135", **{"notes__template": "{{guestname}} {{vmid}}"}) == "OK"
    (row,) = shown(root)
    assert re.fullmatch(r"local:backup/vzdump-lxc-135-[\d_]+-[\d_]+\.tar\.zst", row["volid"])
    assert (row["vmid"], row["subtype"], row["format"], row["notes"]) == (135, "lxc", "tar.zst", "comms 135")
    config = root("GET", f"{DUMP}/extractconfig", volume=row["volid"]).json()["data"]
    assert "hostname: comms\n" in config
    assert "lock" not in config
    assert log_of(root)[-2:] == ["INFO: Backup job finished successfully", "TASK OK"]
    assert guests.ct(135).lock is None


def test_all_guests_or_a_pool_or_all_but_some(guests: Pve, root: Call) -> None:
    assert dumped(root, all=1) == "OK"
    assert sorted(row["vmid"] for row in shown(root)) == [135, 136]
    assert dumped(root, all=1, exclude="135") == "OK"
    assert "vzdump 136 " in log_of(root)[0]


def test_what_fails_keeps_no_other_from_being_backed_up(guests: Pve, root: Call) -> None:
    guests.ct(135).lock = "migrate"
    assert dumped(root, vmid="135,136,4242") == "job errors"
    text = log_of(root)
    assert "ERROR: Backup of VM 135 failed - CT is locked (migrate)" in text
    assert "ERROR: Backup of VM 4242 failed - unable to find VM '4242'" in text
    assert [row["vmid"] for row in shown(root)] == [136]
    assert guests.ct(135).lock == "migrate"


def test_a_stopped_backup_leaves_the_guest_unlocked(guests: Pve, root: Call, pve_server: Server) -> None:
    pve_server.pve.time_scale = 0.001
    guests.task_secs["vzdump"] = 10_000
    upid = root("POST", DUMP, vmid="135", storage="local").json()["data"]
    root("DELETE", f"/nodes/pve/tasks/{upid}")
    assert root("GET", f"/nodes/pve/tasks/{upid}/status").json()["data"]["status"] == "stopped"
    assert (shown(root), guests.ct(135).lock) == ([], None)


def test_who_may_not_is_refused(guests: Pve, pve_server: Server) -> None:
    token = guests.add_token("guest@pve!t", privsep=False)
    somebody = client(pve_server, token)
    refused = somebody("POST", DUMP, vmid="135", storage="local")
    assert (refused.status_code, "Datastore.AllocateSpace" in refused.reason) == (403, True)
    guests.grant("guest@pve", "/storage/local", "Datastore.AllocateSpace")
    assert dumped(somebody, vmid="135") == "job errors"
    assert "Permission check failed (/vms/135, VM.Backup)" in str(guests.tasklog[-1]["log"])
    assert not any(name.startswith("backup/") for name in guests.storages["local"]["volumes"])


def test_a_guest_from_its_backup_has_its_disks_and_their_options(guests: Pve, root: Call) -> None:
    dumped(root, all=1)
    before = {vmid: dict(guests.guest(vmid).config) for vmid in (135, 136)}
    archives = {row["vmid"]: row["volid"] for row in shown(root)}
    for kind, vmid in (("lxc", 135), ("qemu", 136)):
        assert outcome(root, root("DELETE", f"/nodes/pve/{kind}/{vmid}")) == "OK"
    made = root("POST", "/nodes/pve/lxc", vmid=135, ostemplate=archives[135], restore=1, storage="local-lvm")
    assert outcome(root, made) == "OK"
    made = root("POST", "/nodes/pve/qemu", vmid=136, archive=archives[136], storage="local-lvm")
    assert outcome(root, made) == "OK"
    back = guests.ct(135).config
    assert (back["hostname"], back["memory"]) == ("comms", before[135]["memory"])
    assert "size=8G" in back["rootfs"]
    assert {"mp=/data", "backup=1", "size=2G"} <= set(back["mp0"].split(","))
    assert {"discard=on", "size=16G"} <= set(guests.vm(136).config["scsi0"].split(","))


def test_what_no_token_may_set_comes_back_from_a_backup(guests: Pve, root: Call, hearth: Call) -> None:
    guests.ct(135).config.update(dev0="/dev/net/tun,mode=0666", features="keyctl=1,nesting=1", cores=2)
    dumped(root, vmid="135")
    (row,) = shown(root)
    assert outcome(root, root("DELETE", "/nodes/pve/lxc/135")) == "OK"
    guests.give("/storage/local", "PVEDatastoreAdmin", "hearth@pve!deploy")
    guests.give("/storage/local", "PVEDatastoreAdmin", "hearth@pve")
    made = hearth("POST", "/nodes/pve/lxc", vmid=135, ostemplate=row["volid"], restore=1, storage="local-lvm")
    assert outcome(root, made) == "OK"
    back = guests.ct(135).config
    assert (back["dev0"], back["features"], back["cores"]) == (
        "/dev/net/tun,mode=0666",
        "keyctl=1,nesting=1",
        2,
    )
    assert guests.ct(135).lock is None


def test_a_bridge_that_the_user_may_not_use_keeps_the_backup_out(
    guests: Pve, root: Call, pve_server: Server
) -> None:
    guests.ct(135).config.update(net0="name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:87,ip=dhcp,type=veth")
    dumped(root, vmid="135")
    (row,) = shown(root)
    assert outcome(root, root("DELETE", "/nodes/pve/lxc/135")) == "OK"
    token = guests.add_token("guest@pve!t", privsep=False)
    guests.grant("guest@pve", "/storage", "Datastore.Allocate", "Datastore.AllocateSpace")
    guests.grant("guest@pve", "/vms", "VM.Allocate", "VM.Backup", "VM.Config.Disk", "VM.Config.Options")
    somebody = client(pve_server, token)
    refused = somebody(
        "POST", "/nodes/pve/lxc", vmid=135, ostemplate=row["volid"], restore=1, storage="local-lvm"
    )
    assert refused.status_code == 403
    assert "SDN.Use" in refused.reason


def test_one_that_does_not_exist_makes_nothing(guests: Pve, root: Call) -> None:
    gone = "local:backup/vzdump-lxc-200-2026_11_30-02_00_00.tar.zst"
    refused = root("POST", "/nodes/pve/lxc", vmid=200, ostemplate=gone, restore=1, storage="local-lvm")
    assert refused.status_code == 500
    assert guests.guest(200) is None


def names(*moments: str) -> list[str]:
    return [f"backup/vzdump-lxc-135-{moment}.tar.zst" for moment in moments]


def test_retention_keeps_of_each_period_the_newest_that_a_shorter_one_does_not() -> None:
    there = names(
        *("2026_11_30-02_00_00", "2026_11_29-14_00_00", "2026_11_29-02_00_00", "2026_11_28-02_00_00"),
        *("2026_11_20-02_00_00", "2026_10_20-02_00_00"),
    )
    assert kept(there, "keep-last=2") == set(there[:2])
    assert kept(there, "keep-daily=2") == {there[0], there[1]}
    assert kept(there, "keep-last=1,keep-daily=1") == {there[0], there[1]}
    assert kept(there, "keep-daily=1,keep-monthly=2") == {there[0], there[5]}
    assert kept(there, "") == set(there)


def test_older_backups_go_but_for_protected_ones(guests: Pve, root: Call) -> None:
    for number, when in enumerate(("2026_01_01-02_00_00", "2026_01_02-02_00_00")):
        guests.add_archive(135, when, number)
    guests.storages["local"]["volumes"]["backup/vzdump-lxc-135-2026_01_01-02_00_00.tar.zst"]["protected"] = (
        True
    )
    assert dumped(root, vmid="135", **{"prune__backups": "keep-last=1"}) == "OK"
    left = [row["volid"] for row in shown(root)]
    assert len(left) == 2
    assert "2026_01_01" in left[0]


def test_recorded_backups_end_as_recorded(pve_certificates: Path) -> None:
    """Recordings 471 to 510 and 900 to 907: requests, ends of tasks, and lines of their logs."""
    server, client = recorded_server(pve_certificates)
    pve = server.pve
    pve.storages["scratch"] = dict(pve.storages["local"], path="/var/lib/vz/scratch", volumes={}, files=set())
    pve.storages["btr"] = dict(pve.storages["local"], content="images", volumes={}, files=set())
    config = {"hostname": "ct111", "memory": 512, "rootfs": "local:111/vm-111-disk-0.raw,size=1G"}
    for vmid in (100, 111, 140):
        pve.add_ct(vmid, node="pve1", config={**config, "hostname": f"ct{vmid}"}, defaults=False)
    with server:
        rows = {one.index + 1: one for one in recordings()}
        for index in (471, 473, 477, 481, 485, 489):
            one = rows[index]
            answer = client.send(one)
            assert answer.status_code == one.status
            if one.status != 200:
                assert answer.json()["errors"] == one.body["errors"]
                continue
            upid = answer.json()["data"]
            ended = next(
                row.body["data"]["exitstatus"]
                for row in rows.values()
                if row.index >= index
                and row.path.endswith(f"{one.body['data']}/status")
                and "exitstatus" in row.body["data"]
            )
            assert pve.tasks[upid]["exitstatus"] == ended
            recorded = [
                line["t"]
                for row in rows.values()
                if row.path.endswith(f"{one.body['data']}/log")
                for line in row.body["data"]
            ]
            assert pve.tasks[upid]["log"][-1] == recorded[-1]
            ours = {_plain(line) for line in pve.tasks[upid]["log"] if "starting new backup" not in line}
            assert ours - {_plain(line) for line in recorded} <= _SAID_OTHERWISE


#: The status of a guest that does not run here, and what it is then done with.
_SAID_OTHERWISE = {"INFO: status = stopped", "INFO: backup mode: stop", "INFO: CT Name: ctN"}


def _plain(line: str) -> str:
    return re.sub(r"\d[\d_:-]*", "N", line) if "mode" not in line else line

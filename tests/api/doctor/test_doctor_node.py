"""Each thing that can be wrong with a node, broken alone, and found with its remedy."""

import time
from typing import Any

import pytest
from doctor_home import Patient

from twin.pve import Server

BRIDGE = {"iface": "vmbr0", "type": "bridge", "active": 1}


def test_all_is_well(patient: Patient) -> None:
    assert patient.complaints() == []


def test_only_gets_are_sent(patient: Patient) -> None:
    patient.examine()
    assert patient.pve.log.requests
    assert patient.pve.log.writes() == []


def test_nothing_is_written_here(patient: Patient) -> None:
    patient.write_fleet()
    before = sorted(patient.project.rglob("*"))
    patient.examine()
    assert sorted(path for path in patient.project.rglob("*") if "__pycache__" not in path.parts) == before


# --------------------------------------------------------------------- version


@pytest.mark.pve(version="8.4.21")
def test_8_4_is_well(patient: Patient) -> None:
    assert patient.complaints() == []


@pytest.mark.pve(version="8.3.5")
def test_older_is_refused(patient: Patient) -> None:
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("version", "fail")
    assert "8.3.5" in finding.text


def test_newer_is_a_warning(patient: Patient) -> None:
    patient.pve.version = "10.0.1"
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("version", "warn")


# ------------------------------------------------------------------------ node


def test_offline_node(patient: Patient) -> None:
    patient.pve.nodes["other"] = {"online": True}
    patient.server.call(lambda: patient.pve.set_node_offline("pve"))
    complaints = patient.complaints()
    assert [(finding.check, finding.status) for finding in complaints] == [("node", "fail")]


def test_node_of_another_name(patient: Patient) -> None:
    patient.pve.nodes["proxmox"] = patient.pve.nodes.pop("pve")
    finding = patient.complaint()
    assert finding.check == "node"
    assert "proxmox" in finding.remedy


@pytest.mark.parametrize(("skew", "status"), [(-3600, "fail"), (3600, "fail"), (120, "warn"), (-120, "warn")])
def test_clock_skew(patient: Patient, skew: int, status: str) -> None:
    patient.say("/nodes/pve/time", lambda: {"time": int(time.time()) + skew})
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("clock", status)
    assert "timedatectl" in finding.remedy
    assert ("ahead" if skew > 0 else "behind") in finding.text


# -------------------------------------------------------------------- storages


def test_missing_storage(patient: Patient) -> None:
    patient.pve.storages.pop("local-lvm")
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("storage", "fail")
    assert "local-lvm" in finding.text


@pytest.mark.parametrize(
    ("row", "command"),
    [
        ({"enabled": 0}, "pvesm set local-lvm --disable 0"),
        ({"active": 0}, "pvesm status --storage local-lvm"),
    ],
)
def test_storage_that_is_off(patient: Patient, row: dict[str, int], command: str) -> None:
    local = {"storage": "local", "content": "vztmpl,import", "enabled": 1, "active": 1, "avail": 10**11}
    lvm = {"storage": "local-lvm", "content": "images,rootdir", "enabled": 1, "active": 1, "avail": 10**11}
    patient.say("/nodes/pve/storage", [local, {**lvm, **row}])
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("storage", "fail")
    assert command in finding.remedy


@pytest.mark.parametrize(
    ("storage", "left", "missing"),
    [
        ("local-lvm", "images", "rootdir"),
        ("local-lvm", "rootdir", "images"),
        ("local", "iso,backup,import", "vztmpl"),
        ("local", "iso,backup,vztmpl", "import"),
    ],
)
def test_storage_that_does_not_take_it(patient: Patient, storage: str, left: str, missing: str) -> None:
    patient.pve.storages[storage]["content"] = left
    (finding,) = [finding for finding in patient.complaints() if finding.check == "storage"]
    assert finding.status == "fail"
    assert missing in finding.text
    words = finding.remedy.split()
    assert words[-4:-1] == ["set", storage, "--content"]
    assert set(words[-1].split(",")) == {*left.split(","), missing}


def test_content_that_nobody_needs_is_not_asked_for(patient: Patient) -> None:
    del patient.fleet["guests"]["database"]
    patient.pve.storages["local-lvm"]["content"] = "rootdir"
    patient.pve.storages["local"]["content"] = "vztmpl"
    assert {finding.check for finding in patient.complaints()} == {
        "token"
    }  # it may do more than containers need


def test_too_little_space(patient: Patient) -> None:
    patient.guest("comms")["disk"] = "900 GiB"
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("storage", "warn")
    assert "916 GiB" in finding.text


def test_space_of_guests_that_exist_is_not_counted(patient: Patient) -> None:
    patient.guest("comms")["disk"] = "900 GiB"
    patient.say("/nodes/pve/lxc", [{"vmid": 135, "name": "comms", "status": "running", "tags": "hearth"}])
    assert patient.complaints() == []


def test_a_storage_of_one_guest_is_examined(patient: Patient) -> None:
    patient.guest("comms")["storage"] = "fast"
    complaints = {finding.check: finding.text for finding in patient.complaints()}
    assert "fast" in complaints["storage"]
    assert "/storage/fast" in complaints["token"]


# ---------------------------------------------------------------------- images


@pytest.mark.pve(images=False)
def test_images_that_can_be_fetched_are_well(patient: Patient) -> None:
    patient.say("/query-url-metadata", {"filename": "x", "size": 1})
    assert patient.complaints() == []


@pytest.mark.pve(images=False)
def test_images_that_cannot_be_fetched(patient: Patient) -> None:
    patient.pve.fail("GET", "/query-url-metadata", 500, "invalid server response: '404 Not Found'")
    complaints = patient.complaints()
    assert [(finding.check, finding.status) for finding in complaints] == [("image", "fail")] * 2
    assert all("404 Not Found" in finding.text for finding in complaints)
    assert "http://example.org/debian-12-standard" in complaints[0].remedy


@pytest.mark.pve(images=False)
def test_images_of_guests_that_exist_are_not_needed(patient: Patient) -> None:
    patient.pve.fail("GET", "/query-url-metadata", 500, "no")
    patient.say("/nodes/pve/lxc", [{"vmid": 135, "name": "comms", "status": "running", "tags": "hearth"}])
    patient.make_vm(136, "database")
    assert patient.complaints() == []


# --------------------------------------------------------------------- bridges


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no bridge vmbr0"),
        ([{**BRIDGE, "iface": "vmbr1"}], "no bridge vmbr0"),
        ([{**BRIDGE, "type": "eth"}], "is no bridge"),
        ([{**BRIDGE, "active": 0}], "is down"),
        ([{"iface": "vmbr0", "type": "bridge"}], "is down"),
    ],
)
def test_bridge(patient: Patient, rows: list[dict[str, Any]], words: str) -> None:
    patient.say("/nodes/pve/network", rows)
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("bridge", "fail")
    assert words in finding.text
    assert finding.remedy


def test_a_bridge_that_no_guest_uses_is_not_asked_for(patient: Patient) -> None:
    patient.fleet["networks"]["spare"] = {"bridge": "vmbr9", "subnet": "198.51.100.0/24"}
    for guest in patient.fleet["guests"].values():
        guest["network"] = "lan"
    assert [finding for finding in patient.complaints() if finding.check == "bridge"] == []


# ---------------------------------------------------------------------- guests


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/nodes/pve/lxc", {"vmid": 135, "name": "stranger", "status": "running", "tags": "hearth"}),
        ("/nodes/pve/lxc", {"vmid": 135, "status": "running"}),
    ],
)
def test_vmid_of_a_stranger(patient: Patient, path: str, row: dict[str, Any]) -> None:
    patient.say(path, [row])
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("guest", "fail")
    assert "135" in finding.text


def test_vmid_of_a_guest_of_another_kind(patient: Patient) -> None:
    patient.make_vm(135, "comms")
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("guest", "fail")
    assert "vm comms" in finding.text


def test_a_guest_without_our_tag_is_a_warning_that_names_adopt(patient: Patient) -> None:
    patient.say("/nodes/pve/lxc", [{"vmid": 135, "name": "comms", "status": "running", "tags": "mine"}])
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("guest", "warn")
    assert "--data adopt=comms" in finding.remedy


def test_strangers_elsewhere_are_none_of_our_business(patient: Patient) -> None:
    patient.say("/nodes/pve/lxc", [{"vmid": 999, "name": "stranger", "status": "running"}])
    assert patient.complaints() == []


# --------------------------------------------------------------------- trouble


@pytest.mark.parametrize("suffix", ["/storage", "/network", "/lxc", "/time"])
def test_what_cannot_be_asked_is_said(patient: Patient, suffix: str) -> None:
    patient.pve.fail("GET", f"/nodes/pve{suffix}", 500, "got timeout")
    assert ("api", "fail") in {(finding.check, finding.status) for finding in patient.complaints()}
    assert any("got timeout" in finding.text for finding in patient.complaints())


def test_two_nodes_are_both_examined(patient: Patient, pve_server: Server) -> None:
    patient.fleet["nodes"]["second"] = {"address": "127.0.0.2", "storage": "local-lvm", "images": "local"}
    for guest in patient.fleet["guests"].values():
        guest["node"] = "pve"
    assert any(finding.check == "node" and "second" in finding.text for finding in patient.complaints())

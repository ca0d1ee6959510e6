"""Tasks are listed, filtered, logged and stopped as Proxmox does it; requests are logged without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.fake.conftest import Call, outcome
from twin.pve import Pve
from twin.pve.furnish import DEBIAN_TEMPLATE


@pytest.mark.pve(time_scale=0.05)
def test_a_running_task_can_be_stopped(root: Call, pve: Pve) -> None:
    pve.ct_secs["create"] = 1000
    created = root("POST", "/nodes/pve/lxc", vmid=100, ostemplate=DEBIAN_TEMPLATE, rootfs="local-lvm:1")
    upid = created.json()["data"]
    active = root("GET", "/nodes/pve/tasks", source="active").json()
    assert [(task["upid"], task["status"]) for task in active["data"]] == [(upid, "RUNNING")]
    assert root("GET", "/nodes/pve/tasks").json()["total"] == 0
    assert root("DELETE", f"/nodes/pve/tasks/{upid}").status_code == 200
    assert outcome(root, created) == "received interrupt"


def test_the_list_has_a_total_and_filters(root: Call, pve: Pve) -> None:
    for vmid in (100, 101, 102):
        pve.add_ct(vmid, node="pve")
        root("POST", f"/nodes/pve/lxc/{vmid}/status/start")
    root("POST", "/nodes/pve/lxc/100/status/stop")
    pve.snapshot_lock(100)
    root("POST", "/nodes/pve/lxc/100/status/start")
    page = root("GET", "/nodes/pve/tasks", limit=2).json()
    assert (len(page["data"]), page["total"]) == (2, 5)
    assert root("GET", "/nodes/pve/tasks", vmid=100).json()["total"] == 3
    assert root("GET", "/nodes/pve/tasks", typefilter="vzstop").json()["total"] == 1
    failed = root("GET", "/nodes/pve/tasks", errors=1).json()["data"]
    assert [task["status"] for task in failed] == ["CT is locked (snapshot)"]
    assert (failed[0]["user"], failed[0]["tokenid"]) == ("root@pam", "admin")


def test_a_task_is_its_owners_and_the_auditors(root: Call, hearth: Call, pve: Pve) -> None:
    pve.add_ct(100, node="pve")
    upid = root("POST", "/nodes/pve/lxc/100/status/start").json()["data"]
    assert hearth("GET", f"/nodes/pve/tasks/{upid}/status").status_code == 200
    pve.access.custom["Hearth"] -= {"Sys.Audit"}
    assert hearth("GET", f"/nodes/pve/tasks/{upid}/status").status_code == 403


def test_every_request_is_logged_and_no_secret(root: Call, root_token: str, pve: Pve, tmp_path: Path) -> None:
    pve.log.file = tmp_path / "requests.jsonl"
    root("GET", "/nodes/pve/lxc")
    root(
        "POST",
        "/nodes/pve/lxc",
        vmid=100,
        ostemplate=DEBIAN_TEMPLATE,
        rootfs="local-lvm:1",
        password="canary-password",
    )
    root("GET", "/nodes/pve/nonsense")
    seen = [(one.method, one.path, one.status, one.user) for one in pve.log.requests]
    assert seen == [
        ("GET", "/nodes/pve/lxc", 200, "root@pam!admin"),
        ("POST", "/nodes/pve/lxc", 200, "root@pam!admin"),
        ("GET", "/nodes/pve/nonsense", 501, "root@pam!admin"),
    ]
    assert [one.path for one in pve.log.writes()] == ["/nodes/pve/lxc"]
    text = pve.log.file.read_text()
    assert [json.loads(line)["status"] for line in text.splitlines()] == [200, 200, 501]
    assert "canary-password" not in text
    assert root_token.partition("=")[2] not in text

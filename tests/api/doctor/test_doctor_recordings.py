"""The judges take what a real Proxmox VE 8.4.21 answered (tests/recordings)."""

import json
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hearth.doctor.node import judge_bridges, judge_clock, judge_version
from hearth.doctor.rights import judge_rights
from hearth.doctor.storages import judge_storages
from hearth.fleet.model import Fleet, Guest, Network, Node
from hearth.proxmox.privileges import needed

RECORDINGS = Path(__file__).parents[2] / "recordings" / "pve-8.4.21.jsonl"
ADDRESS = IPv4Address("192.0.2.1")
NODE = Node(name="pve1", address=ADDRESS, endpoint=f"https://{ADDRESS}:8006", storage="local", images="local")
LAN = Network(name="lan", bridge="vmbr0")
GUEST = Guest(name="a", kind="lxc", node="pve1", vmid=100)
LIMITED = "iac@pve!t1 (PVEAuditor on /vms/100 only)"
ROOT = "root@pam!iac"


@cache
def recorded() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in RECORDINGS.read_text().splitlines())


def answer(auth: str, path: str, /, **params: str) -> Any:
    """The first recorded answer to a GET."""
    wanted = (auth, "GET", f"/api2/json{path}", params)
    found = (r for r in recorded() if (r["auth"], r["method"], r["path"], r["params"]) == wanted)
    return next(found)["body"]["data"]


def test_version() -> None:
    assert judge_version(NODE, answer(ROOT, "/version")["version"]).status == "ok"


def test_clock() -> None:
    theirs = float(answer(ROOT, "/nodes/pve1/time")["time"])
    assert judge_clock(NODE, theirs, theirs + 1).status == "ok"
    assert judge_clock(NODE, theirs, theirs + 100).status == "warn"


def test_storages() -> None:
    rows = answer(ROOT, "/nodes/pve1/storage")
    (well,) = judge_storages(NODE, rows, {"local": {"rootdir", "vztmpl"}}, [GUEST])
    assert well.status == "ok"
    (ill,) = judge_storages(NODE, rows, {"local": {"import"}}, [GUEST])
    assert ill.status == "fail"


def test_storages_that_the_token_may_not_see() -> None:
    (finding,) = judge_storages(NODE, answer(LIMITED, "/nodes/pve1/storage"), {}, [])
    assert finding.status == "fail"


def test_bridges() -> None:
    assert [f.status for f in judge_bridges(NODE, answer(ROOT, "/nodes/pve1/network"), [LAN])] == ["ok"]


def test_a_bridge_that_the_token_may_not_use_is_left_out_by_proxmox() -> None:
    (finding,) = judge_bridges(NODE, answer(LIMITED, "/nodes/pve1/network"), [LAN])
    assert finding.status == "fail"
    assert "SDN.Use" in finding.remedy


def test_rights_that_do_not_reach_below() -> None:
    """PVEAuditor on one guest, not propagated: Proxmox says 0."""
    fleet = Fleet(nodes=(NODE,), networks=(LAN,), guests=(GUEST,))
    whole = answer(LIMITED, "/access/permissions", path="/vms/100")
    held = {"/vms": {name: bool(below) for name, below in whole["/vms/100"].items()}}
    findings = judge_rights(needed(fleet), held, {}, "iac@pve", "t1")
    assert {finding.status for finding in findings} == {"fail"}
    assert any("VM.Audit" in finding.text for finding in findings)


def test_roots_rights() -> None:
    fleet = Fleet(nodes=(NODE,), networks=(LAN,), guests=(GUEST,))
    whole = answer(ROOT, "/access/permissions")
    held = {p.path: {name: bool(below) for name, below in whole["/"].items()} for p in needed(fleet)}
    everywhere = {path: {name: bool(below) for name, below in found.items()} for path, found in whole.items()}
    (finding,) = judge_rights(needed(fleet), held, everywhere, "root@pam", "iac")
    assert finding.status == "warn"
    assert " on / " in finding.text

"""`hearth drift`, the whole command against the fake: silent when all is well, true when a hand was at it."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.run.conftest import Done, Home, container, fleet_of, machine

HEARTH = str(Path(sys.executable).with_name("hearth"))


def drift(home: Home, *arguments: str, env: dict[str, str] | None = None) -> Done:
    """Run `hearth drift`."""
    before = len(home.pve.log.requests)
    process = home.start("drift", *arguments, program=HEARTH, env={**home.env, **(env or {})})
    out, err = process.communicate(timeout=120)
    done = Done(process.returncode, out, err, tuple(home.pve.log.requests[before:]))
    assert done.writes == [], "drift must only read"
    return done


def findings(home: Home, code: int = 2) -> list[dict[str, str]]:
    """What it finds, as (subject, kind, field, now, wanted)."""
    done = drift(home, "--json")
    assert done.code == code, done.text
    return list(json.loads(done.out)["drift"])


def test_a_clean_home_is_silent(deployed: Home) -> None:
    done = drift(deployed)
    assert (done.code, done.out) == (0, ""), done.text


def test_it_writes_nothing_here_either(deployed: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in deployed.place.rglob("*")}
    drift(deployed)
    assert {path: path.stat().st_mtime_ns for path in deployed.place.rglob("*")} == before


@pytest.mark.parametrize(
    ("vmid", "change", "told"),
    [
        (135, {"memory": 256}, ("memory", "256 MiB", "512 MiB")),
        (135, {"cores": 4}, ("cores", "4", "1")),
        (136, {"cores": 1}, ("cores", "1", "2")),
    ],
)
def test_a_field_changed_by_hand(
    deployed: Home, vmid: int, change: dict[str, Any], told: tuple[str, str, str]
) -> None:
    deployed.server.call(lambda: deployed.pve.guest(vmid).config.update(change))
    (found,) = findings(deployed)
    name = {135: "comms", 136: "database"}[vmid]
    assert (found["subject"], found["kind"]) == (name, "guest")
    assert (found["field"], found["now"], found["wanted"]) == told


def test_a_guest_that_was_stopped(deployed: Home) -> None:
    def stop() -> None:
        deployed.pve.guest(135).status = "stopped"

    deployed.server.call(stop)
    assert [(f["subject"], f["field"], f["now"]) for f in findings(deployed)] == [
        ("comms", "state", "stopped")
    ]


def test_a_guest_that_is_gone_is_one_finding(small: Home) -> None:
    found = findings(small)
    assert {(f["subject"], f["field"], f["now"]) for f in found} == {
        ("comms", "state", "absent"),
        ("database", "state", "absent"),
    }


def test_a_change_that_a_deploy_would_refuse_is_found_and_the_rest_is_looked_at(deployed: Home) -> None:
    deployed.server.call(lambda: deployed.pve.guest(135).config.update({"unprivileged": 0}))
    deployed.server.call(lambda: deployed.pve.guest(136).config.update({"cores": 1}))
    found = findings(deployed)
    assert {(f["subject"], f["field"]) for f in found} >= {("comms", "unprivileged"), ("database", "cores")}


def test_a_vmid_that_became_somebody_elses(deployed: Home) -> None:
    deployed.server.call(lambda: deployed.pve.guest(135).config.update({"hostname": "stranger"}))
    found = findings(deployed)
    assert [(f["subject"], f["field"]) for f in found] == [("comms", "identity")]
    assert "stranger" in found[0]["now"]


@pytest.mark.parametrize(("wish", "code"), [("report", 0), ("drift", 2), ("ignore", 0)])
def test_a_guest_of_nobody(deployed: Home, tmp_path: Path, wish: str, code: int) -> None:
    def appear() -> None:
        deployed.pve.add_ct(200, "stranger", node="pve", config={"hostname": "stranger"}, status="running")

    deployed.server.call(appear)
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text(f"drift_unmanaged_guests: {wish}\n")
    done = drift(deployed, env={"HEARTH_OVERRIDES": str(overrides)})
    assert done.code == code, done.text
    assert ("200 stranger" in done.out) == (wish != "ignore")
    overrides.write_text("drift_known_guests: [200]\ndrift_unmanaged_guests: drift\n")
    known = drift(deployed, env={"HEARTH_OVERRIDES": str(overrides)})
    assert (known.code, known.out) == (0, "")


def test_a_guest_that_left_the_fleet_file_and_is_still_there(deployed: Home) -> None:
    deployed.declare(comms=deployed.fleet["guests"]["comms"])
    assert [(f["thing"], f["field"]) for f in findings(deployed)] == [("136 database", "fleet file")]


def test_a_node_that_does_not_answer_is_an_error_that_names_its_guests(deployed: Home) -> None:
    done = drift(
        deployed, "--json", env={"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9", "HEARTH_API_TIMEOUT": "3"}
    )
    assert done.code == 1
    assert {"comms", "database"} <= {error["subject"] for error in json.loads(done.out)["errors"]}


def test_a_mistake_in_the_fleet_file(deployed: Home) -> None:
    deployed.change("comms", memory="2 GB")
    assert drift(deployed).refused("is no size").code == 1


def test_a_setting_that_means_nothing(deployed: Home, tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text("drift_unmanaged_guests: loud\n")
    done = drift(deployed, env={"HEARTH_OVERRIDES": str(tmp_path / "o.yaml")})
    done.refused("drift_unmanaged_guests", "group_data/drift.py")


def test_beside_a_run_it_says_so_instead_of_calling_half_a_run_drift(deployed: Home) -> None:
    lock = os.open(deployed.place / "state" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        drift(deployed).refused("a run is under way")
    finally:
        os.close(lock)


def test_a_guest_that_does_not_answer_is_an_error_that_names_it_and_the_others_are_looked_at(
    home: Home,
) -> None:
    """It runs, says the API; nobody listens on its port 22."""
    fleet = fleet_of(database=machine())
    fleet["networks"]["here"] = {"bridge": "vmbr0", "subnet": "127.9.9.0/24"}
    home.declare(fleet)
    home.deploy().went_well()
    mute = {**container(), "appliance": False, "network": "here", "address": "127.9.9.135"}
    home.declare({**fleet, "guests": {**fleet["guests"], "mute": mute}})
    config = {"hostname": "mute", "tags": "hearth", "unprivileged": 1}
    home.server.call(lambda: home.pve.add_ct(135, "mute", node="pve", config=config, status="running"))
    home.server.call(lambda: home.pve.guest(136).config.update({"cores": 1}))
    done = drift(home, "--json")
    found = json.loads(done.out)
    assert done.code == 1
    (error,) = found["errors"]
    assert error["subject"] == "mute"
    assert "cannot reach mute by SSH at 127.9.9.135" in error["reason"]
    assert ("database", "cores") in {(f["subject"], f["field"]) for f in found["drift"]}
    assert not [f for f in found["drift"] if f["kind"] in ("file", "service", "step")]


def test_a_dry_run_that_refuses_is_told_in_its_words_and_the_guests_are_looked_at(deployed: Home) -> None:
    deployed.declare({**deployed.fleet, "firewall": True})
    (deployed.place / "overrides.yaml").write_text("firewall_iot: [toaster]\n")
    deployed.server.call(lambda: deployed.pve.guest(136).config.update({"cores": 1}))
    done = drift(deployed, "--json", env={"HEARTH_OVERRIDES": str(deployed.place / "overrides.yaml")})
    found = json.loads(done.out)
    assert done.code == 1
    (error,) = found["errors"]
    assert error["subject"] == "home"
    assert "toaster" in error["reason"]
    assert "\x1b" not in error["reason"] and "\n" not in error["reason"]
    assert [each["field"] for each in found["drift"]] == ["cores"]

"""Plan, deploy, plan again: whole runs over a fleet in which every guest meets another change."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.run.conftest import Done, Home, container, fleet_of, home_of, machine
from twin.pve import Pve, Server, furnish


@dataclass(frozen=True)
class Case:
    """A guest, what is changed of it in the fleet file, and how that must be planned."""

    name: str
    guest: Any  # container or machine
    change: dict[str, Any]
    field: str
    kind: str
    has: str  # a part of the configuration in the fake afterwards
    before: dict[str, Any] | None = None


DATA = {"path": "/srv", "size": "1 GiB"}
BIGGER = {"path": "/srv", "size": "2 GiB"}
CASES = (
    Case("ct-memory", container, {"memory": "1 GiB"}, "memory", "live", "'memory': 1024"),
    Case("ct-cores", container, {"cores": 2}, "cores", "live", "'cores': 2"),
    Case("ct-disk", container, {"disk": "16 GiB"}, "disk", "live", "size=16G"),
    Case("ct-tags", container, {"tags": ["mqtt"]}, "tags", "live", "hearth;mqtt"),
    Case("ct-bridge", container, {"network": "guests"}, "bridge", "live", "bridge=vmbr1"),
    Case("ct-mount", container, {"mounts": {"mp0": DATA}}, "mp0", "live", "mp=/srv"),
    Case(
        "ct-bigger",
        container,
        {"mounts": {"mp0": BIGGER}},
        "mp0",
        "live",
        "size=2G",
        {"mounts": {"mp0": DATA}},
    ),
    Case(
        "ct-features",
        container,
        {"features": {"nesting": False}, "restart": "allowed"},
        "features",
        "restart",
        "nesting=0",
    ),
    Case("ct-onboot", container, {"onboot": True}, "onboot", "live", "'onboot': 1"),
    Case("ct-pool", container, {"pool": "home"}, "pool", "live", ""),
    Case("vm-memory", machine, {"memory": "4 GiB", "restart": "allowed"}, "memory", "restart", "4096"),
    Case("vm-cores", machine, {"cores": 4, "restart": "allowed"}, "cores", "restart", "'cores': 4"),
    Case("vm-disk", machine, {"disk": "32 GiB"}, "disk", "live", "size=32G"),
    Case("vm-tags", machine, {"tags": ["sql"]}, "tags", "live", "hearth;sql"),
    Case("vm-bridge", machine, {"network": "guests"}, "bridge", "live", "bridge=vmbr1"),
    Case("vm-extra", machine, {"disks": {"scsi1": {"size": "1 GiB"}}}, "scsi1", "live", "'scsi1'"),
    Case("vm-text", machine, {"description": "the vault"}, "description", "live", "the vault"),
)
NUMBER = {case.name: 140 + place for place, case in enumerate(CASES)}


@dataclass(frozen=True)
class Story:
    """What the runs of a fleet with every change said and did."""

    home: Home
    planned: dict[str, Any]
    plan_run: Done
    deploy: Done
    again: Done
    after: dict[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, pve_certificates: Path) -> Iterator[Story]:
    """Deploy all guests, change one thing of each, plan, deploy, deploy again, plan again."""
    pve = Pve()
    pve.time_scale = 0
    tokens = furnish(pve)
    pve.bridges = {"vmbr0", "vmbr1"}
    pve.pools["home"] = set()
    with Server(pve, pve_certificates) as server:
        env = {
            "PROXMOX_VE_ENDPOINT": server.url,
            "PROXMOX_VE_API_TOKEN": tokens.hearth,
            "PROXMOX_VE_CA_BUNDLE": str(server.ca_file),
        }
        home = home_of(server, env, tmp_path_factory.mktemp("story"))
        fleet = fleet_of(
            **{case.name: case.guest(NUMBER[case.name], **(case.before or {})) for case in CASES}
        )
        fleet["networks"]["guests"] = {**fleet["networks"]["lan"], "bridge": "vmbr1"}
        home.declare(fleet)
        home.deploy().went_well()
        for case in CASES:
            home.fleet["guests"][case.name].update(copy.deepcopy(case.change))
        home.declare(home.fleet)
        plan_run = home.dry("--json").went_well()
        deploy = home.deploy().went_well()
        again = home.deploy().went_well()
        yield Story(home, json.loads(plan_run.out)["guests"], plan_run, deploy, again, home.plan())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_change_is_planned_with_its_kind_applied_and_silent_afterwards(story: Story, case: Case) -> None:
    planned = story.planned[case.name]
    assert [(change["field"], change["kind"]) for change in planned["changes"]] == [(case.field, case.kind)]
    assert planned["restarts"] == (case.kind == "restart")
    assert case.has in str(story.home.config(NUMBER[case.name]))
    assert story.home.pve.guest(NUMBER[case.name]).pending == {}
    assert story.home.status(NUMBER[case.name]) == "running"
    after = story.after[case.name]
    assert (after["changes"], after["action"]) == ([], "none")


def test_a_pool_holds_its_guest(story: Story) -> None:
    assert story.home.pve.pools["home"] == {NUMBER["ct-pool"]}


def test_planning_changes_sends_gets_only(story: Story) -> None:
    assert story.plan_run.writes == []


def test_a_deploy_with_nothing_to_do_costs_two_gets_a_node_and_one_a_guest(story: Story) -> None:
    """And one for each pool that the fleet names, whatever the number of guests."""
    guests = {f"/{number}/pending" for number in NUMBER.values()}
    wanted = ["GET /nodes/pve/lxc", "GET /nodes/pve/qemu", "GET /pools/home"]
    for case in CASES:
        kind = "lxc" if case.guest is container else "qemu"
        wanted.append(f"GET /nodes/pve/{kind}/{NUMBER[case.name]}/pending")
    assert sorted(story.again.paths) == sorted(wanted)
    assert len(guests) == len(CASES)
    assert "0 changes made" in story.again.text


def test_only_what_needs_it_was_restarted(story: Story) -> None:
    restarted = {
        path.split("/")[4] for path in story.deploy.writes if path.endswith(("/reboot", "/shutdown", "/stop"))
    }
    assert restarted == {str(NUMBER[case.name]) for case in CASES if case.kind == "restart"}


# ------------------------------------------------------------------ the first run


def test_a_dry_run_on_an_empty_node_plans_everything_with_gets(small: Home) -> None:
    done = small.dry().went_well()
    assert done.writes == []
    for word in ("container 135", "VM 136", "absent", "create:", "2 operations to change"):
        assert word in done.text
    assert small.volumes() == set()


def test_a_dry_run_leaves_nothing_on_this_machine(small: Home) -> None:
    small.dry().went_well()
    assert sorted(path.name for path in small.place.iterdir()) == ["fleet.yaml"]


def test_roles_of_absent_guests_are_planned_operation_by_operation(home: Home) -> None:
    home.declare(broker={**container(140), "appliance": False, "roles": ["mosquitto"]})
    done = home.dry("--json").went_well()
    names = [operation["name"] for operation in json.loads(done.out)["plan"]]
    assert len(names) > 20
    assert any("Mosquitto" in name for name in names)
    assert done.writes == []


def test_the_first_deploy_makes_what_the_file_says_and_the_second_nothing(deployed: Home) -> None:
    assert deployed.status(135) == deployed.status(136) == "running"
    assert deployed.config(135)["hostname"] == "comms"
    assert deployed.config(135)["tags"] == "hearth;mqtt"
    assert "02:48:00:00:00:88" in str(deployed.config(136)["net0"])
    before = deployed.state()
    again = deployed.deploy().went_well()
    assert again.writes == []
    assert sorted(again.paths) == [
        "GET /nodes/pve/lxc",
        "GET /nodes/pve/lxc/135/pending",
        "GET /nodes/pve/qemu",
        "GET /nodes/pve/qemu/136/pending",
    ]
    assert deployed.state() == before
    dry = deployed.dry().went_well()
    assert sorted(dry.paths) == sorted(again.paths)
    assert "0 operations to change" in dry.text


def test_a_guest_that_is_made_loses_the_host_key_of_its_address_and_no_other_does(small: Home) -> None:
    """Whoever answered there before was another machine; others' keys are what protects them."""
    address = small.fleet["guests"]["comms"]["address"]
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKly5rO/DdfA6KOQ4MF6jiiy+BhpNMeUUN7DW6xcWwlc"
    file = small.place / "state/known_hosts"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{address} {key}\n192.0.2.9 {key}\n")
    small.deploy().went_well()
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["192.0.2.9"]
    file.write_text(f"{address} {key}\n")
    small.change("comms", memory="1 GiB")
    small.deploy().went_well()
    assert file.read_text().split()[0] == address, "a guest that is only changed keeps its key"


# ------------------------------------------------------------------ what waits, what is stopped


def test_a_change_that_waits_for_a_restart_shows_until_it_is_applied(deployed: Home) -> None:
    deployed.change("database", cores=4)
    assert deployed.plan()["database"]["restarts"] is False
    for _ in range(2):
        deployed.deploy().went_well()
        waiting = deployed.dry().went_well()
        assert "cores: 2 -> 4 (needs a restart)" in waiting.text
    assert deployed.deploy().went_well().writes == []
    assert deployed.pve.guest(136).config["cores"] == 2
    deployed.change("database", restart="allowed")
    deployed.deploy().went_well()
    assert deployed.pve.guest(136).config["cores"] == 4
    assert "cores" not in deployed.dry().went_well().text


def test_a_stopped_guest_shows_as_stopped_and_is_started(deployed: Home) -> None:
    deployed.pve.guest(135).status = "stopped"
    done = deployed.dry().went_well()
    assert "container 135 on pve, 192.168.1.135: stopped" in done.text
    assert "start" in done.text
    assert deployed.plan()["comms"]["starts"] is True
    deployed.deploy().went_well()
    assert deployed.status(135) == "running"


def test_a_stopped_appliance_that_was_taken_over_is_left_alone(deployed: Home) -> None:
    deployed.change("comms", image=None)
    deployed.pve.guest(135).status = "stopped"
    assert "stopped" in deployed.dry().went_well().text
    assert deployed.deploy().went_well().writes == []
    assert deployed.status(135) == "stopped"

"""The inventory as the command line sees it: folder, groups, --limit, and what is no run at all."""

from __future__ import annotations

import json
import time

import pytest

from tests.api.run.conftest import PROJECT, Home, container, fleet_of, machine


def groups(home: Home, *arguments: str) -> dict[str, set[str]]:
    """The groups with their hosts, from `debug-inventory --json`."""
    done = home.pyinfra("inventory", "debug-inventory", "--json", *arguments).went_well()
    found: dict[str, set[str]] = {}
    for host in json.loads(done.out):
        for group in host["groups"]:
            found.setdefault(group, set()).add(host["name"])
    return found


def hosts_of(home: Home, *arguments: str) -> set[str]:
    """The hosts that a deploy would plan for."""
    done = home.dry("--json", *arguments).went_well()
    return set(json.loads(done.out)["guests"])


@pytest.mark.parametrize("typed", ["inventory", "inventory/", "./inventory", str(PROJECT / "inventory")])
def test_the_inventory_is_a_folder_however_it_is_typed(small: Home, typed: str) -> None:
    done = small.pyinfra(typed, "debug-inventory").went_well()
    assert "comms" in done.text and "database" in done.text


def test_groups_say_kind_roles_tags_and_what_the_api_shows(home: Home) -> None:
    guests = {
        "comms": container(tags=["mqtt"]),
        "database": machine(),
        "vault": machine(137, tags=["mqtt"]),
        "broker": {**container(140), "appliance": False, "roles": ["mosquitto"]},
    }
    home.declare(fleet_of(**guests))
    home.pve.add_ct(135, name="comms", node="pve", config={"hostname": "comms", "tags": "hearth"})
    home.pve.guest(135).status = "running"
    home.pve.add_vm(136, name="database", node="pve", config={"name": "database", "tags": "hearth"})
    home.pve.add_vm(900, name="nas", node="pve")
    found = groups(home)
    assert found["proxmox"] == {"pve"}
    assert found["guests"] == {"comms", "database", "vault", "broker"}
    assert found["vms"] == {"database", "vault"}
    assert found["containers"] == {"comms", "broker"}
    assert found["mosquitto"] == found["base"] == {"broker"}
    assert found["mqtt"] == {"comms", "vault"}
    assert found["running"] == {"comms"}
    assert found["stopped"] == {"database"}
    assert found["absent"] == {"vault", "broker"}
    assert found["unmanaged"] == {"900-nas"}


def test_what_is_not_ours_is_seen_and_never_touched(small: Home) -> None:
    small.pve.add_vm(900, name="nas", node="pve", status="running")
    before = small.config(900)
    done = small.deploy().went_well()
    assert small.config(900) == before
    assert not [path for path in done.paths if "/900" in path]
    assert "900-nas" not in done.text, "it was connected to, or took part in the deploy"


def test_limit_takes_guests_roles_and_tags(home: Home) -> None:
    broker = {**container(140), "appliance": False, "roles": ["mosquitto"]}
    home.declare(comms=container(tags=["mqtt"]), database=machine(), broker=broker)
    assert hosts_of(home, "--limit", "database") == {"database"}
    assert hosts_of(home, "--limit", "mosquitto") == {"broker"}
    assert hosts_of(home, "--limit", "mqtt") == {"comms"}
    assert hosts_of(home, "--exclude", "mqtt", "--exclude", "mosquitto") == {"database"}


def test_limit_leaves_the_others_alone(small: Home) -> None:
    small.deploy("--limit", "comms").went_well()
    assert small.status(135) == "running"
    assert small.status(136) == "absent"


@pytest.mark.parametrize("limit", ["nothing-of-this-name", "unmanaged", "900-nas"])
def test_a_limit_that_leaves_nothing_is_an_error(small: Home, limit: str) -> None:
    small.pve.add_vm(900, name="nas", node="pve")
    done = small.deploy("--limit", limit).refused("cannot")
    assert done.writes == []


def test_debug_inventory_shows_the_fleet_with_the_api_down(small: Home) -> None:
    done = small.pyinfra(
        "inventory", "debug-inventory", env={"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9"}
    ).went_well()
    assert "comms" in done.text and "database" in done.text
    assert "cannot reach Proxmox at https://127.0.0.1:9" in done.text


def test_debug_inventory_shows_the_fleet_without_a_token(small: Home) -> None:
    done = small.pyinfra("inventory", "debug-inventory", env={"PROXMOX_VE_API_TOKEN": ""}).went_well()
    assert "comms" in done.text
    assert "no API token" in done.text


@pytest.mark.parametrize("how", ["--dry", "-y"])
def test_a_deploy_names_what_it_could_not_reach(small: Home, how: str) -> None:
    began = time.monotonic()
    down = {"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9"}
    done = small.pyinfra("inventory", "deploy.py", how, env=down)
    done.refused("cannot reach Proxmox at https://127.0.0.1:9")
    assert time.monotonic() - began < 20


@pytest.mark.pve(time_scale=0.2)
def test_a_refused_token_is_paid_once_and_named(small: Home) -> None:
    token = "hearth@pve!deploy=11111111-2222-3333-4444-555555555555"
    done = small.pyinfra("inventory", "deploy.py", "-y", env={"PROXMOX_VE_API_TOKEN": token})
    done.refused("cannot log in at", "PROXMOX_VE_API_TOKEN")
    assert len(done.requests) == 1
    assert [asked.status for asked in done.requests] == [401]


@pytest.mark.parametrize(
    "text",
    ["", "guests: [", "guests: {}\n", "nodes: 1\nnetworks: 2\nguests: 3\n", "\0\1\2"],
    ids=["empty", "no-yaml", "no-guests", "wrong", "binary"],
)
def test_a_bad_fleet_file_fails_the_run_before_anything_is_contacted(home: Home, text: str) -> None:
    home.file.write_text(text, encoding="utf-8")
    for command in (["deploy.py", "-y"], ["debug-inventory"]):
        done = home.pyinfra("inventory", *command).refused("fleet.yaml")
        assert done.requests == ()


def test_all_mistakes_of_the_fleet_file_are_told_at_once(home: Home) -> None:
    home.declare(comms=container(memory="much"), database=machine(address="10.9.9.9", color="red"))
    done = home.deploy().refused("guests.comms.memory", "guests.database.address", "guests.database.color")
    assert done.requests == ()


def test_a_missing_fleet_file_is_an_error(home: Home) -> None:
    home.deploy().refused("fleet.yaml")


def test_dry_json_is_one_object_with_guests_and_operations(small: Home) -> None:
    done = small.dry("--json").went_well()
    payload = json.loads(done.out)
    assert payload["guests"]["comms"]["action"] == "create"
    assert payload["guests"]["comms"]["vmid"] == 135
    assert payload["guests"]["database"]["state"] == "absent"
    assert payload["results"] is None
    operations = {operation["name"]: operation for operation in payload["plan"]}
    assert set(operations["Guest as the fleet file says"]["hosts_with_change"]) == {"comms", "database"}

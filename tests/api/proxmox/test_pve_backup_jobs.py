"""Proxmox's backup jobs from the fleet file: planned, made, changed, removed; those of others stay."""

from __future__ import annotations

from typing import Any

import pytest

from hearth.fleet.loader import load_fleet
from hearth.proxmox.privileges import needed
from tests.api.run.conftest import Home, container, fleet_of, home_of, machine
from twin.pve import Pve, Server

pytestmark = pytest.mark.slow

FOREIGN = {"id": "nightly", "schedule": "01:00", "storage": "local", "all": 1}


@pytest.fixture
def home(pve_server: Server, pve_env: dict[str, str], root_token: str, tmp_path: Any) -> Home:
    """A home of a container and a VM that are there, and a job that is not ours."""
    found = home_of(pve_server, {**pve_env, "PROXMOX_VE_API_TOKEN": root_token}, tmp_path)
    pve_server.pve.backup_jobs["nightly"] = {key: FOREIGN[key] for key in ("schedule", "storage", "all")}
    declare(found)
    return found


def declare(home: Home, **jobs: Any) -> None:
    fleet = fleet_of(comms=container(), database=machine())
    if jobs:
        fleet["backup"] = {"storage": "local", "jobs": jobs}
    home.declare(fleet)


DAILY = {"schedule": "02:00", "keep": {"daily": 7, "weekly": 4}, "guests": ["comms"]}
WEEKLY = {"schedule": "sun 04:00", "keep": {"weekly": 4}}


def ours(pve: Pve) -> dict[str, dict[str, Any]]:
    return {ident: job for ident, job in pve.backup_jobs.items() if ident.startswith("hearth-")}


def jobs_written(done: Any) -> list[str]:
    return [path for path in done.writes if "/cluster/backup" in path]


def test_made_changed_and_removed_while_others_stay(home: Home, pve: Pve) -> None:
    declare(home, daily=DAILY, weekly=WEEKLY)
    dry = home.dry().went_well()
    assert "backup job: make hearth-daily: 02:00, guests 135 to local, keep-daily=7,keep-weekly=4" in dry.text
    assert dry.writes == []
    home.deploy().went_well()
    assert set(ours(pve)) == {"hearth-daily", "hearth-weekly"}
    job = ours(pve)["hearth-weekly"]
    assert (job["vmid"], job["schedule"], job["mode"], job["compress"]) == (
        "135,136",
        "sun 04:00",
        "snapshot",
        "zstd",
    )
    assert job["notes-template"] == "{{guestname}} ({{vmid}})"
    assert int(job["repeat-missed"]) == 1
    again = home.deploy().went_well()
    assert jobs_written(again) == [], "a second run changes nothing"

    declare(home, daily={**DAILY, "schedule": "03:00"})
    changed = home.deploy().went_well()
    assert jobs_written(changed) == [
        "PUT /cluster/backup/hearth-daily",
        "DELETE /cluster/backup/hearth-weekly",
    ]
    assert "schedule: 02:00 -> 03:00" in changed.text
    assert ours(pve)["hearth-daily"]["schedule"] == "03:00"
    assert pve.backup_jobs["nightly"] == {key: FOREIGN[key] for key in ("schedule", "storage", "all")}


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": 0},
        {"schedule": "05:00"},
        {"vmid": "100"},
        {"prune-backups": "keep-last=1"},
        {"mode": "stop"},
        {"notes-template": "mine"},
        {"storage": "local-lvm"},
        {"comment": "mine"},
        {"exclude": "136"},  # another selection beside ours
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.slow
def test_what_somebody_changed_in_ours_is_taken_back(home: Home, pve: Pve, change: dict[str, Any]) -> None:
    declare(home, daily=DAILY)
    home.deploy().went_well()
    before = dict(ours(pve)["hearth-daily"])
    pve.backup_jobs["hearth-daily"].update(change)
    assert next(iter(change)) in home.dry().went_well().text
    home.deploy().went_well()
    assert ours(pve)["hearth-daily"] == before


def test_a_job_that_was_made_to_back_up_all_is_taken_back(home: Home, pve: Pve) -> None:
    declare(home, daily=DAILY)
    home.deploy().went_well()
    job = pve.backup_jobs["hearth-daily"]
    del job["vmid"]
    job["all"] = 1
    home.deploy().went_well()
    assert ours(pve)["hearth-daily"]["vmid"] == "135"
    assert "all" not in ours(pve)["hearth-daily"]


@pytest.mark.slow
def test_without_the_section_nothing_is_asked_or_changed(home: Home, pve: Pve) -> None:
    pve.backup_jobs["hearth-old"] = {"schedule": "01:00", "vmid": "135", "storage": "local"}
    done = home.deploy().went_well()
    assert not [path for path in done.paths if "/cluster/backup" in path]
    assert "hearth-old" in pve.backup_jobs


@pytest.mark.slow
def test_an_empty_section_removes_ours(home: Home, pve: Pve) -> None:
    declare(home, daily=DAILY)
    home.deploy().went_well()
    fleet = fleet_of(comms=container(), database=machine())
    fleet["backup"] = {"jobs": {}}
    home.declare(fleet)
    home.deploy().went_well()
    assert set(pve.backup_jobs) == {"nightly"}


@pytest.mark.slow
def test_the_plan_as_json(home: Home) -> None:
    import json

    declare(home, daily=DAILY)
    found = json.loads(home.dry("--json").went_well().out)["backup_jobs"]["pve"]
    assert found["foreign"] == ["nightly"]
    assert len(found["steps"]) == 1


def test_a_mistake_is_told_before_anything_is_asked(home: Home) -> None:
    declare(home, daily=DAILY, second={**DAILY, "schedule": "02:20"})
    done = home.deploy().refused("backup.jobs.second.schedule", "20 minutes from daily")
    assert done.requests == ()


def test_the_rights_that_it_needs_and_no_other(home: Home) -> None:
    def rights() -> set[tuple[str, str]]:
        return {(one.path, one.name) for one in needed(load_fleet(home.file, {}))}

    without = rights()
    declare(home, daily={**DAILY, "storage": "backups"})
    assert rights() - without == {
        ("/", "Sys.Audit"),
        ("/", "Sys.Modify"),
        ("/storage/backups", "Datastore.Allocate"),
    }
    # Whoever may change the datacenter may let a node download too.
    assert without - rights() == {("/nodes/pve", "Sys.AccessNetwork")}


def test_a_token_without_the_rights_is_told(home: Home, hearth_token: str) -> None:
    declare(home, daily=DAILY)
    done = home.deploy(env={"PROXMOX_VE_API_TOKEN": hearth_token})
    done.refused("Permission check failed")

"""A real `pyinfra` process is killed with SIGKILL at each mutating request; the next run ends as undisturbed.

The kill comes inside the request, before its answer is sent, while the task that it started still runs.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.run.conftest import PATIENCE, Home, container, fleet_of, home_of, machine
from twin.pve import Pve, Server, furnish

SLOW_TASKS = {"vzcreate": 4, "qmcreate": 4, "resize": 2, "vzstart": 2, "qmstart": 2, "qmreboot": 2}
SCALE = 0.05  # so that a task takes a fifth of a second and is still under way at the kill


def first_fleet() -> dict[str, Any]:
    """A container with a mount point and a VM with a further disk, in a pool."""
    return fleet_of(
        comms=container(pool="home", tags=["mqtt"], mounts={"mp0": {"path": "/srv", "size": "1 GiB"}}),
        database=machine(pool="home", restart="allowed", disks={"scsi1": {"size": "1 GiB"}}),
    )


def second_fleet() -> dict[str, Any]:
    """The same, with live changes, new volumes, growth and a restart."""
    fleet = first_fleet()
    mounts = {"mp0": {"path": "/srv", "size": "2 GiB"}, "mp1": {"path": "/media", "size": "1 GiB"}}
    fleet["guests"]["comms"].update(memory="1 GiB", disk="16 GiB", mounts=mounts)
    disks = {"scsi1": {"size": "2 GiB"}, "scsi2": {"size": "1 GiB"}}
    fleet["guests"]["database"].update(cores=4, disk="32 GiB", disks=disks)
    return fleet


@dataclass(frozen=True)
class Told:
    """The undisturbed life of both fleets: the fake after the first, both states, and their writes."""

    place: Path
    fake: dict[str, Any]
    states: tuple[dict[str, Any], dict[str, Any]]
    writes: tuple[int, int]


@contextmanager
def fresh(certificates: Path, place: Path, told: Told | None = None) -> Iterator[Home]:
    """A node of its own; with the secrets of the undisturbed runs, so that the deploy key is the same."""
    place.mkdir(exist_ok=True)
    if told is not None:
        for name in ("secrets.age", "age.key"):
            shutil.copy(told.place / name, place / name)
    pve = Pve()
    pve.time_scale = SCALE
    pve.task_secs.update(SLOW_TASKS)
    pve.pools["home"] = set()
    tokens = furnish(pve)
    with Server(pve, certificates) as server:
        env = {
            "PROXMOX_VE_ENDPOINT": server.url,
            "PROXMOX_VE_API_TOKEN": tokens.hearth,
            "PROXMOX_VE_CA_BUNDLE": str(server.ca_file),
        }
        yield home_of(server, env, place)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, pve_certificates: Path) -> Told:
    """Deploy both fleets, one after the other, without any disturbance."""
    place = tmp_path_factory.mktemp("undisturbed")
    with fresh(pve_certificates, place) as home:
        home.declare(first_fleet())
        one = home.deploy().went_well()
        fake = copy.deepcopy(life(home.pve))
        first = home.state()
        home.declare(second_fleet())
        two = home.deploy().went_well()
        assert home.plan()["comms"]["changes"] == []
        return Told(place, fake, (first, home.state()), (len(one.writes), len(two.writes)))


def life(pve: Pve) -> dict[str, Any]:
    """What of a fake is its guests and their disks."""
    return {name: getattr(pve, name) for name in ("cts", "vms", "storages", "pools")}


def kill_in_write(home: Home, number: int) -> bool:
    """Deploy and kill the process inside its n-th mutating request. Returns whether it came that far."""
    victim: list[int] = []
    seen = [0]
    real = home.pve.log.add

    def add(request: Any, status: int) -> None:
        real(request, status)
        seen[0] += request.method != "GET"
        if seen[0] == number and victim:
            os.kill(victim.pop(), signal.SIGKILL)

    home.server.call(lambda: setattr(home.pve.log, "add", add))
    process = home.start("inventory", "deploy.py", "-y")
    victim.append(process.pid)
    process.communicate(timeout=PATIENCE)
    home.server.call(lambda: setattr(home.pve.log, "add", real))
    return process.returncode == -signal.SIGKILL


def survive(home: Home, number: int, wanted: dict[str, Any]) -> None:
    """Kill, run again, and be where an undisturbed run is, with nothing left to do."""
    assert kill_in_write(home, number), f"it made less than {number} writes"
    home.deploy().went_well()
    found = home.state()
    assert found["volumes"] == wanted["volumes"], f"orphan disks after a kill in write {number}"
    assert found == wanted, f"killed in write {number}"


def test_a_first_deploy_killed_in_any_write_is_finished_by_the_next(
    told: Told, pve_certificates: Path, tmp_path: Path
) -> None:
    assert told.writes[0] >= 5
    for number in range(1, told.writes[0] + 1):
        with fresh(pve_certificates, tmp_path / str(number), told) as home:
            home.declare(first_fleet())
            survive(home, number, told.states[0])


def test_a_creation_that_still_runs_is_waited_for(told: Told, pve_certificates: Path, tmp_path: Path) -> None:
    """Until it has ended, the guest has neither its name nor our tag: it looks like a stranger's."""
    with fresh(pve_certificates, tmp_path / "waits", told) as home:
        home.pve.task_secs.update(vzcreate=6 / SCALE, qmcreate=6 / SCALE)  # longer than the next run's start
        home.declare(first_fleet())
        assert kill_in_write(home, 1)
        again = home.deploy().went_well()
        assert [path for path in again.paths if path.startswith("GET /nodes/pve/tasks")]
        assert home.state() == told.states[0]


def changing(told: Told, certificates: Path, place: Path, number: int) -> None:
    """Kill the second deploy in one of its writes."""
    with fresh(certificates, place / str(number), told) as home:
        before = copy.deepcopy(told.fake)
        home.server.call(lambda: vars(home.pve).update(before))
        home.declare(second_fleet())
        survive(home, number, told.states[1])


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_a_change_killed_on_its_way_is_finished_by_the_next(
    told: Told, pve_certificates: Path, tmp_path: Path, share: float
) -> None:
    changing(told, pve_certificates, tmp_path, max(1, round(told.writes[1] * share)))


@pytest.mark.slow
def test_a_change_killed_in_any_write_is_finished_by_the_next(
    told: Told, pve_certificates: Path, tmp_path: Path
) -> None:
    for number in range(1, told.writes[1] + 1):
        changing(told, pve_certificates, tmp_path, number)

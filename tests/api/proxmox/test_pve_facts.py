"""How a real Proxmox VE answers (PVE-FACTS.md), where it touches what Hearth calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox import power
from hearth.proxmox.api import TaskError
from hearth.proxmox.guests import converge, destroy
from tests.api.proxmox.conftest import Home, container, machine
from tests.api.proxmox.test_pve_refusals import doom

RECORDINGS = Path(__file__).parents[2] / "recordings" / "pve-8.4.21.jsonl"
BOTH = [container(), machine()]
VERSIONS = [pytest.param(v, marks=pytest.mark.pve(version=v)) for v in ("8.4.21", "9.2.11")]
KINDS = ["container", "vm"]


def ended() -> list[dict[str, Any]]:
    """How every recorded task ended."""
    rows = [json.loads(line) for line in RECORDINGS.read_text().splitlines()]
    asked = [row for row in rows if row["path"].endswith("/status") and "/tasks/" in row["path"]]
    told = [row["body"]["data"] for row in asked if row["status"] == 200]
    return [task for task in told if task.get("status") == "stopped"]


def test_recorded_tasks_are_judged_by_their_exit_status(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OK` and `WARNINGS: n` are success; all else is an error with that message."""
    assert {task["exitstatus"].partition(":")[0] for task in ended()} >= {"OK", "WARNINGS"}
    judged = {True: 0, False: 0}
    for task in ended():
        good = task["exitstatus"] == "OK" or task["exitstatus"].startswith("WARNINGS: ")
        monkeypatch.setattr(
            home.api, "get", lambda path, task=task, **_: [] if path.endswith("log") else task
        )
        if good:
            assert home.api.wait(task["upid"], "do it") == task["exitstatus"]
        else:
            with pytest.raises(TaskError) as caught:
                home.api.wait(task["upid"], "do it")
            assert task["exitstatus"].strip().rstrip(".") in str(caught.value)
        judged[good] += 1
    assert min(judged.values()) > 5


def test_a_task_that_does_not_end_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.api, "get", lambda path, **_: {"status": "running"})
    with pytest.raises(TaskError, match="has not ended after 0 s"):
        home.api.wait("UPID:pve:0:0:0:vzstart:135:root@pam:", "start it", patience=0.1)


def test_booleans_travel_as_numbers_and_nothing_as_nothing(home: Home) -> None:
    home.run(container())
    home.api.put("/nodes/pve/lxc/135/config", onboot=False, protection=True, description=None)
    assert home.config(135)["onboot"] == 0 and home.config(135)["protection"] == 1


@pytest.mark.parametrize("guest", BOTH, ids=KINDS)
def test_starting_what_somebody_started_meanwhile_is_success(home: Home, guest: Guest) -> None:
    home.run(guest)
    seen = home.plan(guest).seen
    assert seen is not None
    power.start(home.api, seen, "start it")
    assert home.pve.guest(guest.vmid).status == "running"


@pytest.mark.parametrize("guest", BOTH, ids=KINDS)
def test_stopping_what_somebody_stopped_meanwhile_is_success(home: Home, guest: Guest) -> None:
    home.run(guest)
    seen = home.plan(guest).seen
    assert seen is not None
    home.pve.guest(guest.vmid).status = "stopped"
    power.stop(home.api, seen, "stop it")


@pytest.mark.parametrize("guest", BOTH, ids=KINDS)
def test_a_stale_digest_is_somebody_elses_change(home: Home, guest: Guest) -> None:
    home.run(guest)
    plan = home.plan(guest.model_copy(update={"description": "new"}))
    home.pve.guest(guest.vmid).config["onboot"] = 0
    with pytest.raises(HearthError, match="somebody else changed it just now"):
        converge(home.api, plan)
    assert "description" not in home.config(guest.vmid)


@pytest.mark.parametrize("version", VERSIONS)
def test_privileges_are_what_was_declared_on_both_versions(home: Home, version: str) -> None:
    """Left out, `unprivileged` means privileged on 8.4 and unprivileged on 9.2."""
    home.run(container(unprivileged=None))
    assert home.config(135)["unprivileged"] == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guest", BOTH, ids=KINDS)
def test_tags_in_any_order_and_case_are_silent(home: Home, guest: Guest, version: str) -> None:
    tagged = guest.model_copy(update={"tags": ("zeta", "Alpha")})
    home.run(tagged)
    assert home.words(tagged) == []
    home.pve.guest(guest.vmid).config["tags"] = "zeta;hearth;alpha"
    assert home.words(tagged) == []


def test_a_guest_that_does_not_obey_a_restart_is_one_clear_error(home: Home) -> None:
    home.run(machine())
    home.pve.guest(136).acpi = False
    with pytest.raises(HearthError, match=r"restart guest database: .*restart it by hand"):
        home.run(machine(cores=4, restart="allowed"))
    assert home.words(machine(cores=4)) == ["cores: 2 -> 4 (needs a restart)"]
    home.pve.guest(136).acpi = True
    home.run(machine(cores=4, restart="allowed"))
    assert home.words(machine(cores=4)) == []


def test_a_vm_that_does_not_obey_is_stopped_by_force_when_it_is_destroyed(home: Home) -> None:
    home.run(machine())
    home.pve.guest(136).acpi = False
    destroy(home.api, doom(home, machine()))
    assert home.pve.guest(136) is None


@pytest.mark.parametrize("guest", BOTH, ids=KINDS)
def test_no_request_ever_forces_or_skips_a_lock(home: Home, guest: Guest) -> None:
    home.run(guest)
    home.run(guest, replace=True)
    destroy(home.api, doom(home, guest))
    sent = [(path, body) for method, path, body in home.pve.requests if method != "GET"]
    assert sent
    assert not [path for path, body in sent if b"force=1" in body or b"skiplock" in body]


def test_a_replaced_guest_keeps_its_place_in_backup_jobs(home: Home) -> None:
    """`purge` would take the VMID out of backup jobs and HA: only `destroy` asks for it."""
    asked: list[dict[str, object]] = []
    real = home.api.task

    def task(method: str, path: str, *args: object, **params: object) -> list[str]:
        if method == "DELETE":
            asked.append(params)
        return real(method, path, *args, **params)  # type: ignore[arg-type]

    home.api.task = task  # type: ignore[method-assign]
    home.run(container())
    home.run(container(), replace=True)
    destroy(home.api, doom(home, container()))
    assert [params["purge"] for params in asked] == [0, 1]
    assert all(params["destroy-unreferenced-disks"] == 1 for params in asked)

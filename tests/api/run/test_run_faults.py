"""Every fault of the fake: the run converges or ends non-zero with one clear message; the next converges."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.run.conftest import Home, home_of
from tests.api.run.fault_cases import CONVERGES, EITHER, EXPECTED, Case, base, changed
from twin.pve import Pve, Server, furnish
from twin.pve.faults import FAULTS, apply, clear

SHORT = {"HEARTH_API_TIMEOUT": "0.5", "HEARTH_LOCK_TIMEOUT": "2"}
PATIENCE = 45  # seconds that a run may take to say what is wrong, on a busy machine


@dataclass(frozen=True)
class Undisturbed:
    """The fake after the first deploy, and the state after the second one."""

    first: dict[str, Any]
    state: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pve_certificates: Path) -> Iterator[Undisturbed]:
    """What runs without any fault do."""
    pve = Pve()
    pve.time_scale = 0
    tokens = furnish(pve)
    with Server(pve, pve_certificates) as server:
        env = {
            "PROXMOX_VE_ENDPOINT": server.url,
            "PROXMOX_VE_API_TOKEN": tokens.hearth,
            "PROXMOX_VE_CA_BUNDLE": str(server.ca_file),
        }
        home = home_of(server, env, tmp_path_factory.mktemp("undisturbed"))
        home.declare(base())
        home.deploy().went_well()
        first = copy.deepcopy({"cts": pve.cts, "vms": pve.vms, "storages": pve.storages})
        home.declare(changed())
        home.deploy().went_well()
        assert home.plan()["comms"]["changes"] == []
        yield Undisturbed(first, home.state())


def cases() -> list[Any]:
    """Each fault of the table with each of its cases; a fault without any fails the suite."""
    found = []
    for name in FAULTS:
        for number, case in enumerate(EXPECTED.get(name, (None,))):
            found.append(pytest.param(name, case, id=f"{name}-{number}"))
    return found


def comparable(state: dict[str, Any]) -> str:
    """A state as text, whatever its storage is called and counts its disks; each home has its own key."""
    plain = copy.deepcopy(state)
    for guest in plain["guests"].values():
        guest["config"].pop("sshkeys", None)
    text = json.dumps(plain, sort_keys=True, indent=1)
    return re.sub(r"disk-\d+", "disk", text.replace("ceph:", "local-lvm:"))


@pytest.mark.parametrize(("name", "case"), cases())
def test_a_run_survives_the_fault_or_names_it_and_the_next_converges(
    home: Home, undisturbed: Undisturbed, name: str, case: Case | None
) -> None:
    assert case is not None, f"say in fault_cases.py what a run must do about the fault {name}"
    home.env.update(SHORT)
    home.declare(changed())
    if case.there:
        first = copy.deepcopy(undisturbed.first)
        home.server.call(lambda: vars(home.pve).update(first))
    if case.before:
        case.before(home)
    home.pve.time_scale = case.scale
    home.server.call(lambda: apply(home.pve, name, **case.params))
    began = time.monotonic()
    done = home.deploy(patience=PATIENCE)
    if done.code and case.says is not EITHER:
        assert case.says != CONVERGES, done.text
        done.refused("cannot ", *case.says)
        told = [line for line in done.text.splitlines() if "cannot " in line]
        assert len(told) <= 4, f"not told once by the inventory and for each host, but:\n{done.text}"
    elif case.says is not EITHER:
        assert case.says == CONVERGES, f"it ended 0\n{done.text}"
        assert comparable(home.state()) == comparable(undisturbed.state)
    assert "Traceback" not in done.text
    assert time.monotonic() - began < PATIENCE
    home.server.call(lambda: clear(home.pve))
    home.pve.time_scale = 0
    home.deploy().went_well()
    assert comparable(home.state()) == comparable(undisturbed.state)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf"])
def test_a_patience_that_is_no_number_of_seconds_is_named(home: Home, value: str) -> None:
    home.declare(base())
    done = home.deploy(env={"HEARTH_API_TIMEOUT": value}).refused(f"HEARTH_API_TIMEOUT={value}")
    assert done.requests == ()

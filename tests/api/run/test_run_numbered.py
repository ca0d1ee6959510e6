"""`count` against the fake: more guests are made beside those there are; removed by name only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.api.run.conftest import Home, container

HEARTH = str(Path(sys.executable).with_name("hearth"))


@pytest.fixture
def two(home: Home) -> Home:
    """A home of two numbered containers, deployed."""
    home.declare(worker=container(count=2, address="192.168.1.150-159"))
    home.deploy().went_well()
    return home


def made(home: Home) -> dict[int, str]:
    return {guest.vmid: str(guest.config["hostname"]) for guest in home.pve.cts}


def test_numbered_guests_are_made_and_a_second_run_changes_nothing(two: Home) -> None:
    assert made(two) == {150: "worker-1", 151: "worker-2"}
    assert "192.168.1.151/24" in two.config(151)["net0"]
    assert two.deploy().went_well().writes == []


def test_one_more_touches_none_of_the_others(two: Home) -> None:
    before = two.state()["guests"]
    two.change("worker", count=3)
    done = two.deploy().went_well()
    assert made(two)[152] == "worker-3"
    assert not [path for path in done.writes if "/150/" in path or "/151/" in path]
    after = two.state()["guests"]
    assert {vmid: after[vmid] for vmid in before} == before


def test_a_smaller_count_destroys_nothing_and_is_told(two: Home) -> None:
    two.change("worker", count=1)
    assert two.deploy().went_well().writes == []
    assert set(made(two)) == {150, 151}
    process = two.start("drift", "--json", program=HEARTH)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert [found["thing"] for found in json.loads(out)["drift"]] == ["151 worker-2"]


def test_one_of_them_is_destroyed_by_its_name_and_the_others_stay(two: Home) -> None:
    two.pyinfra("inventory", "teardown.py", "-y", "--data", "destroy=worker").refused("worker")
    assert set(made(two)) == {150, 151}
    two.pyinfra("inventory", "teardown.py", "-y", "--data", "destroy=worker-2").went_well()
    assert made(two) == {150: "worker-1"}
    two.change("worker", count=1)
    assert two.deploy().went_well().writes == []

"""Faults of the node, met by a deploy of a real guest: it converges or says why not; the next one converges.

Every fault there is meets Hearth in tests/api; here are those whose real guest matters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.twin.annex_kit import fleet_of
from tests.twin.handle import TwinHandle, until
from tests.twin.home_kit import Home
from tests.twin.test_home_changes import PLAIN


@pytest.fixture
def new(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A guest that is not there yet."""
    place = tmp_path_factory.mktemp("faulty")
    home = Home(twin, place).with_fleet(place, fleet_of(plain={**PLAIN, "address": "192.168.1.162"}))
    twin.images()
    twin.remove("lxc", 162)
    yield home
    twin.clear_faults()
    twin.remove("lxc", 162)


def converges(home: Home) -> None:
    """With the fault gone the next run makes the guest, once, and the one after has nothing to do."""
    home.twin.clear_faults()
    home.deploy().went_well()
    assert home.status("plain") == "running"
    assert home.volumes(162) == {"local-lvm:vm-162-disk-0"}
    assert home.said("plain", "hostname") == "plain"
    home.deploy().silent()


@pytest.mark.slow
def test_a_slow_api_only_takes_longer(new: Home) -> None:
    new.twin.fault("slow", seconds=0.4)
    new.deploy().went_well()
    assert new.status("plain") == "running"
    converges(new)


def test_a_start_that_fails_is_said_and_started_by_the_next_run(new: Home) -> None:
    new.twin.fault("task", type="vzstart", message="startup for container '162' failed", times=0)
    done = new.deploy()
    done.refused("startup for container '162' failed", "start guest plain")
    assert new.status("plain") == "stopped"
    converges(new)


def test_a_node_that_is_offline_is_said_before_anything_changes(new: Home) -> None:
    new.twin.fault("offline", node="pve")
    done = new.deploy()
    done.refused("the node did not answer its own cluster: No route to host")
    assert done.writes == []
    converges(new)


@pytest.mark.slow
def test_a_node_that_goes_offline_while_a_guest_is_made(new: Home) -> None:
    new.twin.fault("slow-task", type="vzcreate", seconds=2)
    mark = new.log_size()
    ends: list[float] = []

    def offline_for_a_while() -> None:
        until(lambda: any(row["method"] == "POST" for row in new.requests(mark)) or None, 60)
        new.twin.fault("offline", node="pve")
        time.sleep(1.5)  # how long the node is away, which nobody sees from outside
        new.twin.clear_faults()
        ends.append(time.monotonic())

    away = threading.Thread(target=offline_for_a_while)
    away.start()
    done = new.deploy()
    away.join()
    assert ends
    if done.code != 0:
        done.refused("the node did not answer its own cluster: No route to host")
    converges(new)


@pytest.mark.slow
def test_a_full_storage_is_said_and_leaves_nothing(new: Home) -> None:
    new.twin.fault("full", storage="local-lvm")
    done = new.deploy()
    assert done.code != 0
    assert "Traceback" not in done.text
    new.twin.clear_faults()
    assert 162 not in new.vmids() or new.config("plain")["tags"] == "hearth;one"
    converges(new)

"""Two nodes behind one endpoint: named nodes, `auto`, and one of them down."""

from __future__ import annotations

import pytest

from tests.api.run.conftest import Home, container, fleet_of

BOTH = ("pve", "pve2")


@pytest.fixture
def cluster(home: Home) -> Home:
    """Two nodes with 6 GiB of free memory each."""
    home.pve.add_node("pve2")
    return home


def node_of(home: Home, vmid: int) -> str:
    """Where a guest lives."""
    return str(home.pve.guest(vmid).node)


def test_a_guest_lives_where_its_node_says(cluster: Home) -> None:
    cluster.declare(fleet_of(BOTH, a=container(135, node="pve2"), b=container(136, node="pve")))
    cluster.deploy().went_well()
    assert (node_of(cluster, 135), node_of(cluster, 136)) == ("pve2", "pve")
    again = cluster.deploy().went_well()
    assert sorted(again.paths) == [
        "GET /nodes/pve/lxc",
        "GET /nodes/pve/lxc/136/pending",
        "GET /nodes/pve/qemu",
        "GET /nodes/pve2/lxc",
        "GET /nodes/pve2/lxc/135/pending",
        "GET /nodes/pve2/qemu",
    ]


def test_a_guest_of_a_cluster_must_name_its_node(cluster: Home) -> None:
    cluster.declare(fleet_of(BOTH, a=container(135)))
    done = cluster.deploy().refused("guests.a.node", "auto")
    assert done.requests == ()


def test_a_guest_that_lives_elsewhere_is_not_made_twice(cluster: Home) -> None:
    cluster.declare(fleet_of(BOTH, a=container(135, node="pve")))
    cluster.deploy().went_well()
    cluster.declare(fleet_of(BOTH, a=container(135, node="pve2")))
    done = cluster.deploy().refused("lives on pve, not on pve2", "declare node: pve")
    assert done.writes == []


def test_auto_places_by_free_memory_once_and_then_it_stays(cluster: Home) -> None:
    big = container(135, node="auto", memory="3 GiB")
    small = {
        "b": container(136, node="auto", memory="1 GiB"),
        "c": container(137, node="auto", memory="1 GiB"),
    }
    cluster.declare(fleet_of(BOTH, a=big, **small))
    planned = {name: plan["node"] for name, plan in cluster.plan().items()}
    assert planned == {"a": "pve", "b": "pve2", "c": "pve2"}
    cluster.deploy().went_well()
    assert {name: node_of(cluster, 135 + place) for place, name in enumerate("abc")} == planned
    cluster.declare(fleet_of(BOTH, **small))  # placed anew, `b` would go to `pve`
    stayed = cluster.plan()
    assert {name: plan["node"] for name, plan in stayed.items()} == {"b": "pve2", "c": "pve2"}
    assert all(plan["action"] == "none" for plan in stayed.values())
    assert cluster.deploy().went_well().writes == []


def test_with_one_node_down_the_others_guests_converge(cluster: Home) -> None:
    cluster.declare(fleet_of(BOTH, a=container(135, node="pve"), b=container(136, node="pve2")))
    cluster.pve.set_node_offline("pve2")
    done = cluster.deploy().refused("pve2")
    assert cluster.status(135) == "running", done.text
    assert cluster.status(136) == "absent"
    assert "a]" in done.text and "Success" in done.text
    cluster.pve.set_node_offline("pve2", offline=False)
    cluster.deploy().went_well()
    assert cluster.status(136) == "running"


def test_auto_is_not_placed_anew_while_its_node_is_down(cluster: Home) -> None:
    """It may live there: on the node that is up it would be a second one."""
    cluster.declare(
        fleet_of(BOTH, a=container(135, node="auto", memory="3 GiB"), b=container(136, node="auto"))
    )
    cluster.deploy().went_well()
    assert (node_of(cluster, 135), node_of(cluster, 136)) == ("pve", "pve2")
    cluster.pve.set_node_offline("pve2")
    done = cluster.deploy("--limit", "b").refused("b", "pve2")
    assert done.writes == []
    dry = cluster.dry().refused("pve2")
    assert "create" not in dry.text
    cluster.pve.set_node_offline("pve2", offline=False)
    assert cluster.deploy().went_well().writes == []


def test_inventory_of_a_cluster_with_a_node_down_shows_everything(cluster: Home) -> None:
    cluster.declare(fleet_of(BOTH, a=container(135, node="pve"), b=container(136, node="pve2")))
    cluster.pve.set_node_offline("pve2")
    done = cluster.pyinfra("inventory", "debug-inventory").went_well()
    assert "a" in done.text and "b" in done.text and "pve2" in done.text
    assert "did not answer" in done.text

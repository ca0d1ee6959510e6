"""Several nodes behind one endpoint: where guests go, and that they stay."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.proxmox import observe
from hearth.proxmox.guests import converge
from hearth.proxmox.place import place_all
from hearth.proxmox.plan import Intent, plan_guest
from tests.api.proxmox.conftest import Home, container, fleet_of


def cluster(home: Home, *guests: Guest) -> Fleet:
    """A fleet of two nodes, both in the fake."""
    home.pve.nodes["pve2"] = {"online": True}
    one = fleet_of(*guests)
    second = one.nodes[0].model_copy(update={"name": "pve2"})
    return one.model_copy(update={"nodes": (one.nodes[0], second)})


def test_auto_places_a_guest_once_and_it_stays(home: Home) -> None:
    guest = container(node="auto")
    fleet = cluster(home, guest)
    views = [observe.observe(home.api, node.name) for node in fleet.nodes]
    first = place_all(fleet, views, {"pve": 1000, "pve2": 9000})
    assert first == {"comms": "pve2"}
    converge(home.api, plan_guest(Intent(guest, fleet, "pve2"), views))
    assert home.pve.guest(135).node == "pve2"
    views = [observe.observe(home.api, node.name) for node in fleet.nodes]
    assert place_all(fleet, views, {"pve": 9000, "pve2": 1}) == first


def test_free_memory_counts_nodes_that_are_online(home: Home) -> None:
    cluster(home)
    home.pve.set_node_offline("pve2")
    assert list(observe.free_memory(home.api)) == ["pve"]


def test_a_node_that_is_off_is_named_and_the_endpoint_is_not_given_up(home: Home) -> None:
    cluster(home)
    home.pve.set_node_offline("pve2")
    with pytest.raises(HearthError, match=r"/nodes/pve2/.*is the node up"):
        observe.observe(home.api, "pve2")
    assert observe.observe(home.api, "pve").guests == ()


def test_the_api_works_under_gevent_as_pyinfra_patches_it(home: Home, pve_env: dict[str, str]) -> None:
    program = """
        from gevent import monkey
        monkey.patch_all()
        import gevent, os
        from hearth.fleet.model import Node
        from hearth.proxmox.api import connect
        node = Node(name="pve", address="192.0.2.1", endpoint="https://x", storage="a", images="b")
        api = connect(node, os.environ)
        now, most = [0], [0]
        def create():
            with api.creating("local"):
                now[0] += 1
                most[0] = max(most[0], now[0])
                api.get("/version")
                now[0] -= 1
        gevent.joinall([gevent.spawn(create) for _ in range(8)], raise_error=True)
        assert (most[0], api.count) == (2, 8), (most, api.count)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=pve_env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr

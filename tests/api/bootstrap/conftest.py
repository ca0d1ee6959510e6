"""A Proxmox that has never heard of Hearth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bootstrap_kit import PASSWORD, NodeSsh, Site

from tests.api.run.conftest import container, fleet_of, home_of, machine
from twin.pve import Server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "firewall: the rights are those of a fleet with a firewall")


def small_fleet() -> dict[str, object]:
    """A container with tun in a pool, and a VM with a place in the start order."""
    return fleet_of(
        comms=container(pool="home", tun=True), database=machine(startup={"order": 2}, pool="home")
    )


@pytest.fixture
def node_ssh(tmp_path: Path) -> Iterator[NodeSsh]:
    server = NodeSsh(tmp_path / "node")
    yield server
    server.stop()


@pytest.fixture
def site(pve_server: Server, node_ssh: NodeSsh, tmp_path: Path) -> Site:
    """The small fleet, nothing of it there: no user, role, token, ACL entry, pool or key of Hearth's."""
    pve = pve_server.pve

    def forget() -> None:
        pve.apitokens.pop("hearth@pve!deploy")
        pve.access.users.pop("hearth@pve")
        pve.access.custom.clear()
        pve.access.acl.clear()
        pve.password = PASSWORD

    pve_server.call(forget)
    env = {"PROXMOX_VE_ENDPOINT": pve_server.url, "PROXMOX_VE_CA_BUNDLE": str(pve_server.ca_file)}
    place = tmp_path / "place"
    place.mkdir()
    found = Site(home_of(pve_server, env, place), node_ssh)
    found.declare(small_fleet())
    return found

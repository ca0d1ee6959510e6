"""The guest operations on a real Proxmox VE of the caller's; skipped without one.

PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN (PROXMOX_VE_INSECURE, PROXMOX_VE_CA_BUNDLE) say where and who;
HEARTH_LIVE_NODE, HEARTH_LIVE_STORAGE, HEARTH_LIVE_BRIDGE, HEARTH_LIVE_TEMPLATE (a volume ID) and
HEARTH_LIVE_VMIDS (a free range, e.g. 9000-9004) say what may be used. It cleans up after itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from hearth.fleet.model import Node
from hearth.proxmox.api import connect
from tests.live.guest_life import STEPS, Place, cleaned

NEEDED = (
    *("PROXMOX_VE_ENDPOINT", "PROXMOX_VE_API_TOKEN", "HEARTH_LIVE_NODE", "HEARTH_LIVE_STORAGE"),
    *("HEARTH_LIVE_BRIDGE", "HEARTH_LIVE_TEMPLATE", "HEARTH_LIVE_VMIDS"),
)


@pytest.fixture
def place() -> Iterator[Place]:
    """The place that the environment names, empty before and after."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"needs a real Proxmox VE: {', '.join(missing)} not set")
    given = {name: os.environ[name] for name in NEEDED}
    node = Node(
        name=given["HEARTH_LIVE_NODE"],
        address="192.0.2.1",
        endpoint=given["PROXMOX_VE_ENDPOINT"],
        storage=given["HEARTH_LIVE_STORAGE"],
        images="local",
    )
    first, _, last = given["HEARTH_LIVE_VMIDS"].partition("-")
    with cleaned(
        Place(
            api=connect(node, os.environ),
            node=node.name,
            storage=node.storage,
            bridge=given["HEARTH_LIVE_BRIDGE"],
            template=given["HEARTH_LIVE_TEMPLATE"],
            vmids=(int(first), int(last or first)),
        )
    ) as there:
        yield there


@pytest.mark.parametrize("step", STEPS)
def test_a_container(place: Place, step: Callable[[Place], None]) -> None:
    step(place)

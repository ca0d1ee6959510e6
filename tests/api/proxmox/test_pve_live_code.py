"""The code of tests/live, proved on the fake: as both versions of Proxmox VE."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hearth.proxmox.api import Api
from tests.live.guest_life import PREFIX, STEPS, Place, cleaned
from twin.pve import Pve
from twin.pve.furnish import DEBIAN_TEMPLATE


def place_of(api: Api) -> Place:
    """The fake as a place for live tests."""
    return Place(api, "pve", "local-lvm", "vmbr0", DEBIAN_TEMPLATE, (9000, 9004))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "version",
    [pytest.param(v, marks=pytest.mark.pve(version=v)) for v in ("8.4.21", "9.2.11")],
)
def test_a_container(
    new_api: Callable[..., Api], pve: Pve, step: Callable[[Place], None], version: str
) -> None:
    assert pve.version == version
    with cleaned(place_of(new_api())) as place:
        step(place)
    assert pve.cts == []


def test_it_leaves_everything_that_is_not_its_own(new_api: Callable[..., Api], pve: Pve) -> None:
    pve.add_ct(9002, "somebody", node="pve")
    with pytest.raises(AssertionError, match="VMID 9002 is somebody"), cleaned(place_of(new_api())):
        pytest.fail("it began")
    assert pve.ct(9002) is not None


def test_it_cleans_up_what_a_killed_run_of_it_left(new_api: Callable[..., Api], pve: Pve) -> None:
    pve.add_ct(9001, f"{PREFIX}-1", node="pve", status="running", config={"protection": 1})
    with cleaned(place_of(new_api())):
        assert pve.ct(9001) is None

"""Which devices are a guest's, and what is done about the others: decided on plain data."""

from __future__ import annotations

from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.tailnet import Device, members


def device(name: str, **more: Any) -> Device:
    """A device of ours that is online."""
    given = {"id": name, "hostname": name, "tags": ("tag:hearth",), "online": True, **more}
    return Device(name=name, **given)


OLD = device("comms", online=False)
OLD_DOUBLE = device("comms-1", hostname="comms", online=False)
LIVE = device("comms")
LAPTOP = device("comms", id="laptop", tags=(), online=False)
OTHER_TAG = device("comms", id="x", tags=("tag:server", "tag:hearth-test"), online=False)
RENAMED = device("comms", id="y", hostname="printer", online=False)
NEIGHBOUR = device("comms-standby", online=False)


@pytest.mark.parametrize(
    ("there", "forgotten"),
    [
        ([OLD], [OLD]),
        ([OLD, OLD_DOUBLE], [OLD, OLD_DOUBLE]),
        ([device("comms", hostname="COMMS", online=False)], 1),
        ([LIVE], []),
        ([LAPTOP], []),
        ([OTHER_TAG], []),
        ([RENAMED], []),
        ([NEIGHBOUR], []),
    ],
    ids=["old", "double", "case", "online", "foreign", "other tag", "other machine", "longer name"],
)
def test_what_is_forgotten_before_joining(there: list[Device], forgotten: list[Device] | int) -> None:
    found = list(members.forgettable("comms", there))
    assert found == (there if isinstance(forgotten, int) else forgotten)


@pytest.mark.parametrize(
    ("there", "holders"),
    [([OLD], 0), ([LIVE], 1), ([LAPTOP], 1), ([OTHER_TAG], 1), ([RENAMED], 1), ([NEIGHBOUR, OLD_DOUBLE], 0)],
    ids=["old", "online", "foreign", "other tag", "renamed", "others"],
)
def test_what_is_in_the_way(there: list[Device], holders: int) -> None:
    assert len(members.in_the_way("comms", there)) == holders


def test_the_guests_device_is_the_one_of_the_exact_name() -> None:
    double = device("comms-1", hostname="comms")
    assert members.joined("comms", [double, LIVE]) == LIVE
    assert members.joined("comms", [OLD, LIVE]) == LIVE
    assert members.joined("comms", [OLD]) == OLD
    assert members.joined("comms", [double, LAPTOP, RENAMED]) is None
    assert members.misnamed("comms", [double, LIVE, LAPTOP]) == (double,)


@pytest.mark.parametrize(
    ("approved", "wanted", "routes"),
    [
        ((), ["192.168.1.0/24"], ("192.168.1.0/24",)),
        (("10.0.0.0/8",), ["192.168.1.0/24"], ("10.0.0.0/8", "192.168.1.0/24")),
        (("192.168.1.0/24",), ["192.168.1.0/24"], None),
        (("192.168.1.0/24",), ["192.168.1.7/24"], None),
        (("fd48:6561:7274::/64",), ["fd48:6561:7274:0::/64"], None),
        (("10.0.0.0/8",), [], None),
    ],
    ids=["none yet", "others stay", "there", "host bits", "IPv6 spelling", "none wanted"],
)
def test_routes_to_approve(
    approved: tuple[str, ...], wanted: list[str], routes: tuple[str, ...] | None
) -> None:
    assert members.routes_to_approve(device("tailnet", approved=approved), wanted) == routes


NAMES = ["comms", "data", "pve"]


@pytest.mark.parametrize(
    ("there", "left"),
    [
        ([LIVE, device("data"), device("pve")], []),
        ([device("security", online=False)], ["security"]),
        ([device("security")], ["security"]),
        ([device("security", tags=(), online=False)], []),
        ([device("security", tags=("tag:server",), online=False)], []),
        ([LIVE, OLD_DOUBLE], ["comms-1"]),
        ([OLD_DOUBLE], []),
        ([LIVE, device("comms-1", hostname="comms")], []),
    ],
    ids=["guests", "removed", "online", "foreign", "other tag", "double", "only one", "live double"],
)
def test_what_is_no_guests(there: list[Device], left: list[str]) -> None:
    assert [one.name for one in members.left_over(there, NAMES)] == left


def test_what_is_pruned_is_offline_or_named() -> None:
    gone, live = device("security", online=False), device("cameras")
    assert members.to_prune([gone, live]) == ((gone,), (live,))
    assert members.to_prune([gone, live], ["cameras"]) == ((gone, live), ())
    with pytest.raises(HearthError, match="comms"):
        members.to_prune([gone, live], ["comms"])

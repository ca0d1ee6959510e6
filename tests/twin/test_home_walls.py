"""From everywhere to every port of every guest of the home, exactly the table of flows answers.

Behind both walls, and behind each of them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.knocking import Knock
from tests.twin.home_kit import Home
from tests.twin.wall_home_kit import OUTSIDERS, STRANGER, Walled, wrong

pytestmark = pytest.mark.slow
# WireGuard, STUN and mDNS: who listens there does not echo what a stranger says.
DEAF = {("udp", 41641), ("udp", 3478), ("udp", 5353)}
SWITCH = "/cluster/firewall/options"


@pytest.fixture(scope="module")
def walled(home: Home) -> Iterator[Walled]:
    """The home, and somebody of every kind."""
    found = Walled(home)
    with found.outsiders(), found.served():
        yield found


@contextmanager
def without_the_guests_walls(walled: Walled) -> Iterator[None]:
    """Proxmox's wall alone."""
    with ExitStack() as stack:
        for guest in walled.home.fleet.guests:
            walled.home.said(guest.name, "systemctl stop hearth-wall.service")
            stack.callback(walled.home.said, guest.name, "systemctl start hearth-wall.service")
        yield


@contextmanager
def without_the_nodes_wall(walled: Walled) -> Iterator[None]:
    """The guests' own walls alone."""
    twin = walled.home.twin
    assert int(twin.as_root("GET", SWITCH)["enable"]) == 1
    twin.as_root("PUT", SWITCH, enable="0")
    try:
        yield
    finally:
        twin.as_root("PUT", SWITCH, enable="1")


def matrix(walled: Walled) -> dict[Knock, str]:
    """What everybody met at every guest but itself."""
    guests = [guest.name for guest in walled.home.fleet.guests]
    met: dict[Knock, str] = {}
    for source in (None, *guests):
        addresses = walled.addresses(source) if source else (*OUTSIDERS, *map(str, walled.own))
        knocks = [
            one
            for target in guests
            if target != source
            for one in walled.knocks(addresses, target)
            if not (one.answer and (one.protocol, one.port) in DEAF)
        ]
        met |= walled.knock(knocks, source)
    return met


@pytest.mark.parametrize("standing", ["both", "the node's", "the guests'"])
def test_exactly_the_flows_answer_from_everywhere(walled: Walled, standing: str) -> None:
    with ExitStack() as stack:
        if standing == "the node's":
            stack.enter_context(without_the_guests_walls(walled))
        if standing == "the guests'":
            stack.enter_context(without_the_nodes_wall(walled))
        met = matrix(walled)
    assert wrong(met) == {}
    kinds = {flow.who for flow in walled.table}
    assert kinds >= {"management", "lan", "fleet", "outside", "door", "world"}
    assert {one.answer for one in met} == {True, False}
    assert {":" in one.target for one in met} == {True, False}


def test_without_both_a_stranger_would_be_answered(walled: Walled) -> None:
    """So the matrix sees walls and nothing else."""
    with without_the_guests_walls(walled), without_the_nodes_wall(walled):
        knocks = [one for one in walled.knocks(STRANGER, "security") if (one.protocol, one.port) not in DEAF]
        assert set(walled.knock(knocks).values()) == {"open"}

"""The guest's own wall, where it is switched on; where it is not, there is none of ours."""

from __future__ import annotations

from typing import Any

import pytest
from under_test import UnderTest

from hearth.fleet.model import Guest

FILE = "/etc/hearth/wall.nft"
LIST = "nft -s list table inet hearth"


@pytest.fixture
def on(under_test: UnderTest) -> bool:
    """Whether this fleet has walls."""
    return under_test.values["wall_enabled"] is True


def test_it_is_there_where_it_is_wanted(host: Any, on: bool) -> None:
    assert host.run(LIST).succeeded is on
    assert host.file(FILE).exists is on
    assert (host.service("hearth-wall.service").is_enabled if on else False) is on


def test_it_is_what_its_file_makes(host: Any, on: bool) -> None:
    """As a boot would load it, in a network that nobody is in."""
    made = host.run(f"unshare -n sh -c 'nft -f {FILE} && {LIST}'")
    assert made.succeeded is on
    assert not on or made.stdout == host.check_output(LIST) + "\n"


def test_it_drops_what_it_does_not_name(host: Any, on: bool) -> None:
    chain = host.run("nft list chain inet hearth input").stdout
    assert ("hook input" in chain and "policy drop" in chain) is on


def test_every_port_of_its_flows_is_named_in_it(
    host: Any, guest: Guest, under_test: UnderTest, on: bool
) -> None:
    mine = [flow for flow in under_test.table if flow.guest == guest.name]
    assert mine, "SSH at least"
    rules = [line.strip() for line in host.run("nft list chain inet hearth input").stdout.splitlines()]
    for flow in mine:
        named = [line for line in rules if f"{flow.protocol} dport" in line and f" {flow.port}" in line]
        assert bool(named) is on, f"{flow.port} of {flow.why}"


def test_nothing_unproven_is_left(host: Any) -> None:
    assert not host.service("hearth-wall-rollback.timer").is_running
    assert not host.file("/var/lib/hearth/wall").exists

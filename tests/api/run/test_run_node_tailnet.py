"""A node that asks for the tailnet, in the whole command: its wrapper is out of reach."""

from __future__ import annotations

import json

import pytest

from tests.api.run.conftest import Home, container, fleet_of

STEPS = ("Have Tailscale on the node", "Join the tailnet", "Keep Tailscale's settings")


@pytest.fixture
def asking(home: Home) -> Home:
    """A home of one appliance, whose node asks."""
    fleet = fleet_of(comms=container())
    fleet["nodes"]["pve"]["tailnet"] = True
    home.declare({**fleet, "tailnet": {"domain": "tail.example.ts.net"}})
    return home


def test_the_plan_is_whole_and_says_what_it_cannot_know(asking: Home) -> None:
    done = asking.dry().went_well()
    assert done.writes == []
    for step in STEPS:
        assert f"+ {step}" in done.text
    assert "how it stands in the tailnet is not known, all of it is planned" in done.text
    told = json.loads(asking.dry("--json").went_well().out)
    assert "there is no key for it yet" in told["unknown"]["pve"][0]


def test_a_run_of_others_leaves_it_out(asking: Home) -> None:
    done = asking.deploy("--limit", "comms").went_well()
    assert not any(step in done.text for step in STEPS)
    assert asking.status(135) == "running"


def test_the_run_makes_the_guests_and_then_fails_in_words(asking: Home) -> None:
    asking.deploy().refused("cannot ", "SSH wrapper of pve", "bootstrap.py")
    assert asking.status(135) == "running"

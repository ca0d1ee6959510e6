"""A role that follows another is on every guest as soon as some guest has that one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_cases import ROLES, WHOLE, spoiled

from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.model import Fleet
from hearth.role.declaration import Need, Port, Role

Load = Callable[[str], Fleet]
WITH = {
    **ROLES,
    "watch": Role(name="watch"),
    "told": Role(name="told", follows="watch", needs=(Need("post", "in"),)),
    "post": Role(name="post", provides=(Port("in", 1),)),
    "keeper": Role(name="keeper", brings=("watch", "post")),
}


@pytest.fixture
def load(file: Path) -> Load:
    """Load a text as a fleet file, where there are such roles."""

    def load(text: str) -> Fleet:
        file.write_text(text)
        return load_fleet(file, WITH)

    return load


def test_without_the_other_one_nobody_has_it(load: Load) -> None:
    assert load(WHOLE).with_role("told") == ()


def test_every_guest_that_is_no_appliance_has_it(load: Load) -> None:
    fleet = load(spoiled("roles: [broker]", "roles: [broker, watch, post]"))
    assert [guest.name for guest in fleet.with_role("told")] == ["comms", "database"]
    assert fleet.guest("comms").roles == ("base", "told", "broker", "watch", "post")
    assert fleet.guest("haos").roles == ()


def test_it_follows_what_another_role_brings(load: Load) -> None:
    fleet = load(spoiled("roles: [broker]", "roles: [broker, keeper]"))
    assert [guest.name for guest in fleet.with_role("told")] == ["comms", "database"]


def test_what_it_needs_is_asked_for(load: Load) -> None:
    with pytest.raises(FleetError, match="told needs in of post"):
        load(spoiled("roles: [broker]", "roles: [broker, watch]"))

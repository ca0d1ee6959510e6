"""The section `tailnet`: it brings every guest in, but for those that stay out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_cases import COMMS, NODE, ROLES, WHOLE, spoiled

from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.model import Fleet, Tailnet
from hearth.role.declaration import Role

Load = Callable[[str], Fleet]
SECTION = "tailnet:\n  domain: tail1234.ts.net\n"
WITH = {**ROLES, "tailscale": Role(name="tailscale"), "router": Role(name="router", brings=("tailscale",))}


@pytest.fixture
def load(file: Path) -> Load:
    """Load a text as a fleet file, where there is the role tailscale."""

    def load(text: str) -> Fleet:
        file.write_text(text)
        return load_fleet(file, WITH)

    return load


def test_without_it_nobody_joins(load: Load) -> None:
    fleet = load(WHOLE)
    assert fleet.tailnet is None
    assert fleet.with_role("tailscale") == ()


def test_every_guest_that_is_no_appliance_joins(load: Load) -> None:
    fleet = load(WHOLE + SECTION)
    assert fleet.tailnet == Tailnet(domain="tail1234.ts.net")
    assert [guest.name for guest in fleet.with_role("tailscale")] == ["comms", "database"]
    assert fleet.guest("comms").roles == ("base", "tailscale", "broker")
    assert fleet.guest("haos").roles == ()


def test_a_guest_may_stay_out(load: Load) -> None:
    fleet = load(spoiled(COMMS, f"{COMMS}    tailnet: false\n") + SECTION)
    assert [guest.name for guest in fleet.with_role("tailscale")] == ["database"]


def test_all_may_stay_out_but_one(load: Load) -> None:
    text = spoiled("  lxc:\n", "  tailnet: false\n  lxc:\n", COMMS, f"{COMMS}    tailnet: true\n")
    assert [guest.name for guest in load(text + SECTION).with_role("tailscale")] == ["comms"]


def test_a_role_that_is_brought_and_given_is_there_once(load: Load) -> None:
    fleet = load(spoiled("roles: [broker]", "roles: [router]") + SECTION)
    assert fleet.guest("comms").roles == ("base", "tailscale", "router")


def test_a_server_of_ones_own(load: Load) -> None:
    tailnet = load(f"{WHOLE}{SECTION}  server: https://vpn.example.org/\n").tailnet
    assert tailnet is not None
    assert tailnet.server == "https://vpn.example.org"


@pytest.mark.parametrize(
    ("section", "field", "words"),
    [
        ("tailnet: {}\n", "tailnet.domain", "is missing"),
        ("tailnet: {domain: a b}\n", "tailnet.domain", "is no domain"),
        ("tailnet: {domain: x.ts.net, sever: y}\n", "tailnet.sever", "no known key"),
        ("tailnet: {domain: x.ts.net, server: http://vpn.example.org}\n", "tailnet.server", "no https URL"),
        ("tailnet: yes\n", "tailnet", "keys and values"),
    ],
)
def test_mistakes_are_named(load: Load, section: str, field: str, words: str) -> None:
    with pytest.raises(FleetError) as caught:
        load(WHOLE + section)
    (mistake,) = caught.value.mistakes
    assert mistake.field == field
    assert words in str(mistake)


def test_joining_is_a_yes_or_a_no(load: Load) -> None:
    with pytest.raises(FleetError, match=r"guests\.comms\.tailnet"):
        load(spoiled(COMMS, f"{COMMS}    tailnet: maybe\n") + SECTION)


def test_a_node_joins_where_it_asks(load: Load) -> None:
    asks = spoiled(NODE, f"{NODE}    tailnet: true\n")
    assert [node.tailnet for node in load(asks + SECTION).nodes] == [True]
    assert [node.tailnet for node in load(WHOLE + SECTION).nodes] == [False]
    assert [node.tailnet for node in load(spoiled(NODE, f"{NODE}    tailnet: false\n")).nodes] == [False]


def test_a_node_that_asks_where_there_is_no_tailnet_is_a_mistake(load: Load) -> None:
    text = spoiled(NODE, f"{NODE}    tailnet: true\n")
    with pytest.raises(FleetError) as caught:
        load(text)
    (mistake,) = caught.value.mistakes
    assert mistake.field == "nodes.pve.tailnet"
    assert text.splitlines()[mistake.line - 1].strip() == "tailnet: true"
    assert "no tailnet to join" in mistake.wrong and "add the section tailnet" in mistake.right


def test_a_wrong_section_is_not_reported_twice(load: Load) -> None:
    with pytest.raises(FleetError) as caught:
        load(spoiled(NODE, f"{NODE}    tailnet: true\n") + "tailnet: yes\n")
    assert [mistake.field for mistake in caught.value.mistakes] == ["tailnet"]


def test_a_node_asks_with_a_yes_or_a_no(load: Load) -> None:
    with pytest.raises(FleetError, match=r"nodes\.pve\.tailnet"):
        load(spoiled(NODE, f"{NODE}    tailnet: maybe\n") + SECTION)

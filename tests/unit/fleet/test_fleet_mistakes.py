"""Every mistake of a fleet file: its line, its field, what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fleet_cases import CASES, WHOLE, spoiled

from hearth.fleet.mistakes import Mistake
from hearth.fleet.model import Fleet

Mistakes = Callable[..., tuple[Mistake, ...]]


@pytest.mark.parametrize("name", CASES)
def test_one_mistake_is_told_whole(name: str, mistakes: Mistakes) -> None:
    changes, field, wrong, right, at = CASES[name]
    text = spoiled(*changes)
    assert text.count(at) >= 1
    line = text.count("\n", 0, text.rindex(at)) + 1

    (mistake,) = mistakes(text)

    assert (mistake.field, mistake.line) == (field, line)
    assert wrong in mistake.wrong
    assert right in mistake.right
    assert mistake.file.endswith("fleet.yaml")
    assert "hunter2" not in str(mistake)


SECTIONS = {
    "nodes": (WHOLE[: WHOLE.index("networks:")], "write"),
    "networks": (WHOLE[WHOLE.index("networks:") : WHOLE.index("images:\n")], "bridge"),
    "guests": (WHOLE[WHOLE.index("guests:") :], "guest"),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_missing_section(section: str, mistakes: Mistakes) -> None:
    text, right = SECTIONS[section]
    (mistake,) = mistakes(WHOLE.replace(text, ""))
    assert (mistake.field, mistake.line) == (section, 1)
    assert "missing" in mistake.wrong
    assert right in mistake.right


def test_empty_guests(mistakes: Mistakes) -> None:
    (mistake,) = mistakes(WHOLE[: WHOLE.index("guests:")] + "guests: {}\n")
    assert (mistake.field, mistake.wrong) == ("guests", "is empty")


def test_two_nodes_need_a_choice(mistakes: Mistakes) -> None:
    second = "  pve2: {address: 192.168.1.186, storage: local, images: local}\n"
    found = mistakes(spoiled("networks:", f"{second}networks:"))
    assert {mistake.field for mistake in found} == {
        "guests.comms.node",
        "guests.database.node",
        "guests.haos.node",
    }


def test_two_networks_need_a_choice(mistakes: Mistakes) -> None:
    found = mistakes(spoiled("images:\n  debian", "  iot: {bridge: vmbr1}\nimages:\n  debian"))
    assert {mistake.field for mistake in found} == {"guests.comms.network", "guests.database.network"}


def test_network_without_subnet(mistakes: Mistakes) -> None:
    text = WHOLE.replace("    subnet: 192.168.1.0/24\n    gateway: 192.168.1.1\n", "")
    found = {mistake.field: mistake for mistake in mistakes(text)}
    assert set(found) == {"guests.comms.address", "guests.database.address"}
    assert "networks.lan.subnet" in found["guests.comms.address"].right


def test_only_appliances_do_without_a_network(mistakes: Mistakes, load: Callable[[str], Fleet]) -> None:
    text = SECTIONS["networks"][0]
    alone = WHOLE[: WHOLE.index("  comms:")].replace(text, "") + WHOLE[WHOLE.index("  haos:") :]
    assert load(alone).guest("haos").network is None
    (mistake,) = mistakes(alone + "  nas: {kind: lxc, address: 192.168.1.150, disk: 4 GiB, appliance: no}\n")
    assert mistake.field == "networks"

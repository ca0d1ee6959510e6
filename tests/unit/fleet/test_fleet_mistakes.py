"""Every mistake of a fleet file: its line, its field, what is wrong and what would be right."""

from __future__ import annotations

from base64 import b64encode
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


def test_derived_vmids_of_two_networks_collide(mistakes: Mistakes) -> None:
    """192.168.1.135 and 10.0.0.135 are two addresses, but one VMID."""
    text = spoiled("images:\n  debian", "  iot: {bridge: vmbr1, subnet: 10.0.0.0/24}\nimages:\n  debian")
    text = text.replace("cores: 2", "network: lan").replace("192.168.1.136", "10.0.0.135\n    network: iot")
    (mistake,) = mistakes(text)
    assert (mistake.field, mistake.line) == (
        "guests.database.vmid",
        text[: text.index("10.0.0.135")].count("\n") + 1,
    )
    assert "135 is also comms" in mistake.wrong


def test_a_wrong_value_is_not_replaced_by_the_default(mistakes: Mistakes) -> None:
    text = spoiled("  lxc:\n", "  lxc:\n    disk: 1 GiB\n", "disk: 16 GiB", "disk: lots")
    assert [mistake.field for mistake in mistakes(text)] == ["guests.comms.disk"]


@pytest.mark.parametrize("value", ["9" * 19, "9" * 5000])
def test_numbers_without_end(value: str, mistakes: Mistakes) -> None:
    (mistake,) = mistakes(spoiled("cores: 2", f"cores: {value}"))
    assert mistake.field == "guests.comms.cores"
    assert len(str(mistake)) < 500


def test_a_key_of_another_type_than_it_says(mistakes: Mistakes, load: Callable[[str], Fleet]) -> None:
    blob = b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
    good = f"ssh-ed25519 {blob} anna"
    assert load(spoiled("user: anna", f"keys: [{good}]")).admin.keys == (good,)
    (mistake,) = mistakes(spoiled("user: anna", f"keys: [ssh-rsa {blob} anna]"))
    assert mistake.field == "admin.keys.0"

"""`count`: several guests of one entry, each with its number, address and VMID; and what is refused."""
# ruff: noqa: E501  a table reads by its lines

from __future__ import annotations

from collections.abc import Callable

import pytest
from fleet_cases import WHOLE

from hearth.fleet.mistakes import Mistake
from hearth.fleet.model import Fleet

ENTRY = """\
  worker:
    kind: lxc
    count: 3
    address: 192.168.1.150-159
    address6: fd00::150-fd00::159
    disk: 8 GiB
"""
SIXTY = "w" * 62


def with_entry(*changes: str) -> str:
    """The whole file with the entry, some of its text replaced."""
    text = ENTRY
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return WHOLE + text


def test_each_has_its_number_its_addresses_its_vmid_and_the_rest_in_common(
    load: Callable[[str], Fleet],
) -> None:
    made = [guest for guest in load(with_entry()).guests if guest.group == "worker"]
    assert [guest.name for guest in made] == ["worker-1", "worker-2", "worker-3"]
    assert [str(guest.address) for guest in made] == ["192.168.1.150", "192.168.1.151", "192.168.1.152"]
    assert [str(guest.address6) for guest in made] == ["fd00::150", "fd00::151", "fd00::152"]
    assert [guest.vmid for guest in made] == [150, 151, 152]
    assert len({guest.mac for guest in made}) == 3
    assert {(guest.disk, guest.memory, guest.image) for guest in made} == {(8192, 512, "debian-12")}


def test_the_long_way_to_write_a_range_and_a_first_vmid(load: Callable[[str], Fleet]) -> None:
    text = with_entry(
        "192.168.1.150-159", "192.168.1.9-192.168.1.20\n    vmid: 2000", "fd00::150-fd00::159", "auto"
    )
    made = [guest for guest in load(text).guests if guest.group]
    assert [(str(guest.address), guest.vmid, guest.address6) for guest in made] == [
        ("192.168.1.9", 2000, "auto"),
        ("192.168.1.10", 2001, "auto"),
        ("192.168.1.11", 2002, "auto"),
    ]


def test_one_more_leaves_the_others_as_they_are(load: Callable[[str], Fleet]) -> None:
    three = [guest for guest in load(with_entry()).guests if guest.group]
    four = [guest for guest in load(with_entry("count: 3", "count: 4")).guests if guest.group]
    assert four[:3] == three
    assert four[3].name == "worker-4"


def test_a_guest_without_count_is_in_no_group(load: Callable[[str], Fleet]) -> None:
    assert load(WHOLE).guest("comms").group is None


CASES: dict[str, tuple[tuple[str, ...], str, str, str, str]] = {
    "no number": (("count: 3", "count: three"), "count", "whole number", "1 to 100", "count:"),
    "yes is no number": (("count: 3", "count: yes"), "count", "whole number", "1 to 100", "count:"),
    "none": (("count: 3", "count: 0"), "count", "not from 1 to 100", "range", "count:"),
    "too many": (("count: 3", "count: 101"), "count", "not from 1 to 100", "range", "count:"),
    "range too short": (("150-159", "150-151"), "address", "2 addresses, and count is 3", "longer", "address:"),
    "IPv6 range too short": (
        ("fd00::150-fd00::159", "fd00::150-151"), "address6", "2 addresses, and count is 3", "longer", "address6:",
    ),
    "one address": (("192.168.1.150-159", "192.168.1.150"), "address", "one address", "150-159", "address:"),
    "no address": (("192.168.1.150-159", "workers"), "address", "no IPv4 address", "192.168", "address:"),
    "end is no address": (("150-159", "150-1590"), "address", "no IPv4 address", "192.168", "address:"),
    "backwards": (("150-159", "159-150"), "address", "ends before it begins", "150-192.168.1.159", "address:"),
    "dhcp": (("192.168.1.150-159", "dhcp"), "address", "no IPv4 address", "192.168", "address:"),
    "none at all": (("    address: 192.168.1.150-159\n", ""), "address", "missing", "range", "worker:"),
    "a MAC for all": (("disk:", 'mac: "02:00:00:00:00:01"\n    disk:'), "mac", "several", "remove", "mac:"),
    "a stick for all": (("disk:", "devices: [/dev/ttyUSB0]\n    disk:"), "devices", "several", "remove", "devices:"),
    "a disk too small": (("disk: 8 GiB", "disk: 1 GiB"), "disk", "too small", "2048", "disk: 1"),
    "an unknown role": (("disk:", "roles: [borker]\n    disk:"), "roles.0", "borker", "broker", "borker"),
    "an unknown key": (("disk:", "conut: 3\n    disk:"), "conut", "no known key", "count", "conut"),
    "an unknown network": (("disk:", "network: wan\n    disk:"), "network", "wan", "lan", "network: wan"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_once_at_the_entry(name: str, mistakes: Callable[..., tuple[Mistake, ...]]) -> None:
    changes, field, wrong, right, at = CASES[name]
    text = with_entry(*changes)
    (mistake,) = mistakes(text)
    assert mistake.field == f"guests.worker.{field}"
    assert mistake.line == text.count("\n", 0, text.rindex(at)) + 1
    assert wrong in mistake.wrong
    assert right in mistake.right


@pytest.mark.parametrize(
    ("changes", "field", "wrong"),
    [
        (("150-159", "134-140"), "guests.worker-2.address", "comms"),
        (("150-159", "184-190"), "guests.worker-2.address", "node pve"),
        (("disk:", "vmid: 999\n    disk:"), "guests.worker-2.vmid", "haos"),
        (("192.168.1.150-159", "192.168.1.97-109"), "guests.worker-1.vmid", "97"),
    ],
)
def test_what_one_of_them_collides_with_names_that_one(
    changes: tuple[str, ...], field: str, wrong: str, mistakes: Callable[..., tuple[Mistake, ...]]
) -> None:
    found = mistakes(with_entry(*changes))
    assert any(wrong in mistake.wrong + mistake.right for mistake in found if mistake.field == field), found
    assert all(mistake.line > WHOLE.count("\n") or "haos" in mistake.field for mistake in found)


def test_a_range_that_leaves_its_network(mistakes: Callable[..., tuple[Mistake, ...]]) -> None:
    found = mistakes(with_entry("192.168.1.150-159", "192.168.1.254-192.168.2.3\n    vmid: 300"))
    assert {mistake.field for mistake in found} == {"guests.worker-2.address", "guests.worker-3.address"}


def test_a_guest_with_the_name_of_a_numbered_one(mistakes: Callable[..., tuple[Mistake, ...]]) -> None:
    text = with_entry() + "  worker-2:\n    kind: lxc\n    address: 192.168.1.200\n    disk: 8 GiB\n"
    assert any("worker has a guest of this name" in mistake.wrong for mistake in mistakes(text))


def test_a_name_that_gets_too_long_with_its_number(mistakes: Callable[..., tuple[Mistake, ...]]) -> None:
    (mistake, *_) = mistakes(with_entry("worker:", f"{SIXTY}:"))
    assert "no name" in mistake.wrong

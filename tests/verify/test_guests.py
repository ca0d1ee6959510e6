"""Every guest is what the fleet file says, and nothing in it has failed."""

from __future__ import annotations

from typing import Any

from hearth.fleet.model import Guest


def test_it_has_its_name(host: Any, guest: Guest) -> None:
    assert host.check_output("hostname") == guest.name


def test_it_has_its_addresses(host: Any, guest: Guest) -> None:
    have = host.check_output("ip -o addr show scope global")
    for wanted in (guest.address, guest.address6):
        assert wanted in (None, "dhcp", "auto") or f" {wanted}/" in have


def test_no_unit_failed(host: Any) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""

"""What `hearth tailnet status` finds, on plain data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hearth.tailnet import Device, status

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LAN = ("192.168.1.0/24",)


def device(name: str, **more: Any) -> Device:
    """A device of ours, as it should be."""
    return Device(
        name=name, **{"id": name, "hostname": name, "tags": ("tag:hearth",), "online": True, **more}
    )


def found(*devices: Device) -> list[status.Row]:
    """The rows for a fleet of `comms`, which should be in the tailnet, and `data`, which need not."""
    return status.rows(devices, ["comms"], ["comms", "data", "pve"], NOW)


def test_all_is_well() -> None:
    rows = found(device("comms", advertised=LAN, approved=LAN), device("phone", tags=()))
    assert [(row.guest, row.device and row.device.name) for row in rows] == [("comms", "comms")]
    assert status.all_well(rows)


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ([], "is not in the tailnet"),
        ([device("comms", tags=(), user="me")], "taken by comms of me"),
        ([device("comms-1", hostname="comms")], "is named comms-1"),
        (
            [device("comms", online=False, last_seen=NOW - timedelta(days=2))],
            "is offline since 2026-11-25 12:00",
        ),
        ([device("comms", online=False)], "is offline"),
        ([device("comms", authorized=False)], "waits for an admin"),
        ([device("comms", expires=NOW - timedelta(days=1))], "expired on 2026-11-26"),
        ([device("comms", expires=NOW + timedelta(days=3))], "expires on 2026-11-30"),
        ([device("comms", advertised=LAN)], "offers 192.168.1.0/24, which is not approved"),
        ([device("comms", approved=LAN)], "does not offer 192.168.1.0/24"),
    ],
)
def test_what_is_wrong_with_a_guest(devices: list[Device], told: str) -> None:
    (row,) = found(*devices)
    assert any(told in wrong for wrong in row.wrong)
    assert not status.all_well([row])


def test_a_key_that_ends_much_later_is_well() -> None:
    assert status.all_well(found(device("comms", expires=NOW + timedelta(days=90))))


def test_strangers_with_our_tag_and_old_doubles_are_told() -> None:
    double = device("comms-1", hostname="comms", online=False)
    rows = found(device("comms"), device("security", online=False), double)
    assert [(row.device and row.device.name) for row in rows if not row.guest] == ["security", "comms-1"]
    assert not status.all_well(rows)


def test_guests_that_need_not_be_there_and_nodes_are_no_strangers() -> None:
    assert status.all_well(found(device("comms"), device("data"), device("pve")))


def test_as_data() -> None:
    (row,) = found(device("comms", addresses=("100.64.0.1",), advertised=LAN, last_seen=None))
    data = row.to_json()
    assert data["guest"] == "comms"
    assert data["device"]["addresses"] == ["100.64.0.1"]
    assert data["device"]["routes"] == {"advertised": list(LAN), "approved": []}
    assert data["wrong"] == list(row.wrong)

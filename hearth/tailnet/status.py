"""How the tailnet stands to the fleet: pure, of the devices that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from hearth.tailnet import members
from hearth.tailnet.members import TAG
from hearth.tailnet.model import Device

SOON: Final = timedelta(days=14)


@dataclass(frozen=True)
class Row:
    """A guest or node, or a device that is nobody's.

    Args:
        guest: the guest's or node's name; empty for a stranger.
        device: its device, where there is one.
        wrong: what is not as it should be.
    """

    guest: str
    device: Device | None
    wrong: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`: times are ISO 8601."""
        return {"guest": self.guest or None, "device": device_json(self.device), "wrong": list(self.wrong)}


def device_json(device: Device | None) -> dict[str, Any] | None:
    """A device as data."""
    if device is None:
        return None
    return {
        "id": device.id,
        "name": device.name,
        "hostname": device.hostname,
        "addresses": list(device.addresses),
        "tags": list(device.tags),
        "user": device.user,
        "online": device.online,
        "last_seen": _iso(device.last_seen),
        "key_expires": _iso(device.expires),
        "authorized": device.authorized,
        "routes": {"advertised": list(device.advertised), "approved": list(device.approved)},
    }


def rows(
    devices: Sequence[Device],
    expected: Iterable[str],
    known: Collection[str],
    now: datetime,
    tag: str = TAG,
) -> list[Row]:
    """A row for everybody that should be in the tailnet, then one for every device of ours that is nobody's.

    Args:
        devices: all of the tailnet.
        expected: the guests and nodes that should be in it.
        known: names that may be in it besides: the other guests.
        now: the time, UTC.
        tag: our tag.
    """
    expected = list(expected)
    found = [_guest(name, devices, now, tag) for name in expected]
    names = {*expected, *known}
    shown = {row.device.id for row in found if row.device}
    spare = [device for device in members.left_over(devices, names, tag) if device.id not in shown]
    return [*found, *(Row("", device, (_stranger(device, names),)) for device in spare)]


def all_well(found: Iterable[Row]) -> bool:
    """Whether nothing is wrong."""
    return not any(row.wrong for row in found)


def _guest(name: str, devices: Sequence[Device], now: datetime, tag: str) -> Row:
    device = members.joined(name, devices, tag)
    others = members.misnamed(name, devices, tag)
    wrong: list[str] = []
    if device is None and others:
        device = max(others, key=lambda one: one.online)
        wrong.append(f"is named {device.name}: the name was taken when it joined")
    if device is None:
        return Row(name, None, ("is not in the tailnet", *_takers(name, devices)))
    return Row(name, device, (*wrong, *_device(device, now)))


def _takers(name: str, devices: Iterable[Device]) -> list[str]:
    return [
        f"its name is taken by {device.hostname} of {device.user or 'nobody'} (id {device.id}): not ours"
        for device in devices
        if device.name == name
    ]


def _device(device: Device, now: datetime) -> list[str]:
    wrong = []
    if not device.authorized:
        wrong.append("waits for an admin to let it in")
    if not device.online:
        wrong.append(
            f"is offline since {device.last_seen:%Y-%m-%d %H:%M}" if device.last_seen else "is offline"
        )
    if device.expires and device.expires <= now:
        wrong.append(f"its key expired on {device.expires:%Y-%m-%d}")
    elif device.expires and device.expires - now < SOON:
        wrong.append(f"its key expires on {device.expires:%Y-%m-%d}")
    waiting = members.missing_routes(device.approved, device.advertised)
    if waiting:
        wrong.append(f"offers {', '.join(waiting)}, which is not approved")
    idle = members.missing_routes(device.advertised, device.approved)
    if idle and device.online:
        wrong.append(f"does not offer {', '.join(idle)}, which is approved")
    return wrong


def _stranger(device: Device, names: Collection[str]) -> str:
    if device.hostname.lower() in {name.lower() for name in names}:
        return f"an old device of {device.hostname}"
    return "wears our tag, and is no guest of the fleet and no node that asks"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None

"""Which devices of the tailnet are the fleet's, and what follows: decided on plain data.

A device belongs to a guest when it calls itself exactly as the guest is named and wears our tag. The tag is
what makes it ours: only the coordination server's owner can give it (`tagOwners` of the policy).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from hearth.errors import HearthError
from hearth.tailnet.model import Device

#: What every guest's key carries. One home a tailnet: another one's guests would wear it too.
TAG: Final = "tag:hearth"


def ours(device: Device, tag: str = TAG) -> bool:
    """Whether the device wears our tag."""
    return tag in device.tags


def of_guest(device: Device, name: str, tag: str = TAG) -> bool:
    """Whether the device is this guest, or was."""
    return ours(device, tag) and device.hostname.lower() == name.lower()


def forgettable(name: str, devices: Iterable[Device], tag: str = TAG) -> tuple[Device, ...]:
    """What is removed before a guest joins, so that it does not become `name-1`: its own, offline."""
    return tuple(device for device in devices if of_guest(device, name, tag) and not device.online)


def in_the_way(name: str, devices: Iterable[Device], tag: str = TAG) -> tuple[Device, ...]:
    """What has the guest's name and is not removed: somebody else's, or one that is online."""
    return tuple(
        device
        for device in devices
        if device.name == name and (device.online or not of_guest(device, name, tag))
    )


def joined(name: str, devices: Iterable[Device], tag: str = TAG) -> Device | None:
    """The guest's device under its exact name; the one that is online where there are several."""
    found = [device for device in devices if of_guest(device, name, tag) and device.name == name]
    return max(found, key=lambda device: device.online, default=None)


def misnamed(name: str, devices: Iterable[Device], tag: str = TAG) -> tuple[Device, ...]:
    """The guest's devices under another name, `name-1`."""
    return tuple(device for device in devices if of_guest(device, name, tag) and device.name != name)


def routes_to_approve(device: Device, wanted: Sequence[str]) -> tuple[str, ...] | None:
    """All the routes to be approved for a device, or None where the wanted ones are.

    What somebody else approved stays.

    Args:
        device: the subnet router.
        wanted: networks in CIDR notation.
    """
    missing = missing_routes(device.approved, wanted)
    return (*device.approved, *missing) if missing else None


def missing_routes(there: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The networks of `wanted` that are not there, however they are written."""
    known = {_network(route) for route in there}
    return tuple(route for route in wanted if _network(route) not in known)


def left_over(devices: Iterable[Device], names: Collection[str], tag: str = TAG) -> tuple[Device, ...]:
    """Our devices that are no guest's: of guests that were removed, and offline doubles (`name-1`
    beside `name`).

    Args:
        devices: all of the tailnet.
        names: the fleet's guests, and the nodes that ask.
        tag: our tag.
    """
    known = {name.lower() for name in names}
    own = [device for device in devices if ours(device, tag)]
    exact = {device.name for device in own if device.name == device.hostname.lower()}

    def spare(device: Device) -> bool:
        host = device.hostname.lower()
        double = device.name != host and host in exact and not device.online
        return host not in known or double

    return tuple(device for device in own if spare(device))


def to_prune(
    spare: Sequence[Device], named: Collection[str] = ()
) -> tuple[tuple[Device, ...], tuple[Device, ...]]:
    """What goes of the devices that are no guest's: the offline ones, and the named ones whatever they are.

    Args:
        spare: see `left_over`.
        named: names of devices in the tailnet.

    Returns:
        What goes, and what stays because it is online.

    Raises:
        HearthError: a name is none of them.
    """
    strangers = sorted(set(named) - {device.name for device in spare})
    if strangers:
        reason = "no device that is ours and no guest's has that name"
        raise HearthError(f"remove {strangers[0]} from the tailnet", reason, "hearth tailnet status")
    going = tuple(device for device in spare if device.name in named or not device.online)
    return going, tuple(device for device in spare if device not in going)


def _network(route: str) -> IPv4Network | IPv6Network | str:
    try:
        return ip_network(route, strict=False)
    except ValueError:
        return route

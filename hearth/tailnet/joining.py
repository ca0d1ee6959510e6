"""What a guest's joining asks of the coordination server, in this order.

    forget_old(api, "comms")             # before: what it once was goes, else it comes back as comms-1
    key = join_key(api, "comms")         # one machine, once, within minutes; `key.secret` is a Secret
    ...                                  # the guest joins, as `--hostname=comms`
    device = assert_named(api, "comms")  # afterwards: it is there, and under exactly this name
    approve_routes(api, "tailnet", ["192.168.1.0/24"])

A guest that still has its identity (restored from backup, rebooted) is not joined again: this is not for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hearth.tailnet import members
from hearth.tailnet.errors import TailnetError
from hearth.tailnet.members import TAG
from hearth.tailnet.model import Api, Device, JoinKey

KEY_LIFE: Final = 600  # seconds: the guest joins in the same run


@dataclass(frozen=True)
class Waiting:
    """How long to wait for what the server notices late.

    Args:
        within: seconds. A machine that was switched off counts as online for a minute or more.
        every: seconds between two questions.
        sleep, clock: for tests: waits for seconds; seconds, monotonic.
    """

    within: float = 150.0
    every: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def join_key(api: Api, name: str, tags: Sequence[str] = (TAG,), seconds: int = KEY_LIFE) -> JoinKey:
    """A key for one guest: single use, pre-authorized, tagged.

    Args:
        api: the coordination server.
        name: the guest, for the key's description.
        tags: what its device will wear; ours is among them, or the guest is not recognized again.
        seconds: how long the key lives.

    Raises:
        TailnetError: the server refuses; for a tag it does as long as the policy names nobody as its owner.
    """
    return api.make_key(tags, seconds, f"hearth {name}")


def forget_old(api: Api, name: str, tag: str = TAG, waiting: Waiting | None = None) -> tuple[Device, ...]:
    """Remove the guest's old devices before it joins: ours, offline, of this hostname.

    Waits for one that still counts as online: the guest was destroyed a moment ago.

    Args:
        api: the coordination server.
        name: the guest.
        tag: our tag.
        waiting: how long to wait.

    Returns:
        What was removed.

    Raises:
        TailnetError: the name is somebody else's, or a device of ours has it and stays online.
    """
    waiting = waiting or Waiting()
    deadline = waiting.clock() + waiting.within
    removed: list[Device] = []
    while True:
        devices = api.devices()
        for device in members.forgettable(name, devices, tag):
            api.delete(device.id)
            removed.append(device)
        holders = members.in_the_way(name, devices, tag)
        if not holders:
            return tuple(removed)
        foreign = [device for device in holders if not members.of_guest(device, name, tag)]
        if foreign or waiting.clock() >= deadline:
            raise _taken(name, (foreign or list(holders))[0], bool(foreign))
        waiting.sleep(waiting.every)


def assert_named(api: Api, name: str, tag: str = TAG, waiting: Waiting | None = None) -> Device:
    """The guest's device, after it joined: there, online, and named exactly as the guest.

    Args:
        api: the coordination server.
        name: the guest.
        tag: our tag.
        waiting: how long it may take to appear.

    Raises:
        TailnetError: it does not appear, or under another name (`name-1`).
    """
    waiting = waiting or Waiting(within=60.0)
    deadline = waiting.clock() + waiting.within
    while True:
        devices = api.devices()
        device = members.joined(name, devices, tag)
        # A machine that was switched off counts as online for a while: it may not be the one that joined.
        doubles = [other for other in members.misnamed(name, devices, tag) if other.online]
        if device and device.online and not doubles:
            return device
        if waiting.clock() >= deadline:
            raise _not_there(name, device, doubles)
        waiting.sleep(waiting.every)


def approve_routes(api: Api, name: str, wanted: Sequence[str], tag: str = TAG) -> bool:
    """Approve a subnet router's routes; those of others stay.

    Args:
        api: the coordination server.
        name: the guest.
        wanted: networks in CIDR notation.
        tag: our tag.

    Returns:
        Whether anything was to be done.

    Raises:
        TailnetError: the guest is not in the tailnet, or the server refuses.
    """
    device = members.joined(name, api.devices(), tag)
    if device is None:
        raise TailnetError(f"approve routes of {name}", "it is not in the tailnet", "deploy it first")
    routes = members.routes_to_approve(device, wanted)
    if routes is None:
        return False
    api.approve(device.id, routes)
    return True


def leave(api: Api, name: str, tag: str = TAG) -> tuple[Device, ...]:
    """Remove every device of a guest, online or not: the guest goes.

    Returns:
        What was removed.
    """
    going = tuple(device for device in api.devices() if members.of_guest(device, name, tag))
    for device in going:
        api.delete(device.id)
    return going


def _taken(name: str, device: Device, foreign: bool) -> TailnetError:
    action = f"let {name} join the tailnet"
    if foreign:
        owner = f", of {device.user}" if device.user else ""
        reason = f"the name is taken by a device that is not ours: {device.hostname}{owner} (id {device.id})"
        return TailnetError(action, reason, "rename or remove it, or name the guest otherwise")
    reason = f"a device of that name is online (id {device.id}, {', '.join(device.addresses)})"
    return TailnetError(action, reason, "is the old machine still running? Stop it and run again")


def _not_there(name: str, device: Device | None, misnamed: Sequence[Device]) -> TailnetError:
    action = f"find {name} in the tailnet"
    if misnamed:
        other = misnamed[-1]
        reason = f"it is there as {other.name} (id {other.id}): the name was taken when it joined"
        return TailnetError(action, reason, f"remove what has the name {name}, then join it again")
    if device is not None:
        return TailnetError(action, "it is there, but not online", f"journalctl -u tailscaled on {name}")
    return TailnetError(action, "it does not appear there", f"journalctl -u tailscaled on {name}")

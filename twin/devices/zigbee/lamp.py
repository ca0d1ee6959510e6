"""The commands of the clusters On/Off, Level Control, Groups, Identify and OTA Upgrade.

A transition is over at once: the state is what it is to become. Source: Zigbee Cluster Library, revision 8,
3.6 (Groups), 3.8 (On/Off), 3.10 (Level Control), 11.13 (OTA).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zigpy.zcl import foundation
from zigpy.zcl.clusters.general import Groups, Identify, LevelControl, OnOff, Ota

from twin.devices.zigbee.device import Device, Said

Status = foundation.Status
_OFF_EXECUTES = 0x01  # bit ExecuteIfOff of the attribute Options
_SAME = 0xFF  # "the previous one", or "not set"


@dataclass(frozen=True)
class Answer:
    """A command of the same cluster in return."""

    command: int
    data: bytes


Outcome = tuple[Any, "Answer | None", list[Said]]


def command(device: Device, cluster: int, header: Any, payload: bytes) -> Outcome:
    """Do what a command of a cluster says.

    Returns:
        The status for the default response, or an answer of the cluster's own; and the reports of what
        changed.
    """
    if cluster == Ota.cluster_id:
        return _ota(header)
    known = next((c for c in _SERVERS if c.cluster_id == cluster), None)
    named = next((d for d in known.ServerCommandDefs if d.id == header.command_id), None) if known else None
    handler = _HANDLERS.get((cluster, named.name)) if named else None
    if named is None or handler is None or cluster not in {c.cluster_id for c in device.kind.inputs}:
        return Status.UNSUP_CLUSTER_COMMAND, None, []
    try:
        asked = named.schema.deserialize(payload)[0]
    except ValueError:
        return Status.MALFORMED_COMMAND, None, []
    return handler(device, asked)


def switch(device: Device, on: bool) -> list[Said]:
    """Switch the lamp, as a command or a hand at the lamp does; returns the reports."""
    reports = device.put(OnOff, "on_off", on)
    level = device.get(LevelControl, "on_level")
    return reports + (device.put(LevelControl, "current_level", level) if on and level != _SAME else [])


def dim(device: Device, level: int, with_on_off: bool) -> list[Said]:
    """Bring the lamp to a level of 1 to 254; 0 or less is off where the command may switch."""
    if with_on_off and level <= 0:
        return switch(device, False)
    if not (
        with_on_off or device.get(OnOff, "on_off") or device.get(LevelControl, "options") & _OFF_EXECUTES
    ):
        return []
    low, high = device.get(LevelControl, "min_level"), device.get(LevelControl, "max_level")
    reports = device.put(LevelControl, "current_level", min(max(level, low), high))
    return reports + (device.put(OnOff, "on_off", True) if with_on_off else [])


def _done(reports: list[Said]) -> Outcome:
    return Status.SUCCESS, None, reports


def _toggle(device: Device, _asked: Any) -> Outcome:
    return _done(switch(device, not device.get(OnOff, "on_off")))


def _to_level(with_on_off: bool) -> Callable[[Device, Any], Outcome]:
    return lambda device, asked: _done(dim(device, int(asked.level), with_on_off))


def _move(with_on_off: bool) -> Callable[[Device, Any], Outcome]:
    return lambda device, asked: _done(dim(device, 0 if asked.move_mode else 254, with_on_off))


def _step(with_on_off: bool) -> Callable[[Device, Any], Outcome]:
    def stepped(device: Device, asked: Any) -> Outcome:
        step = -int(asked.step_size) if asked.step_mode else int(asked.step_size)
        return _done(dim(device, device.get(LevelControl, "current_level") + step, with_on_off))

    return stepped


def _add_group(device: Device, asked: Any) -> Outcome:
    device.groups.add(int(asked.group_id))
    return Status.SUCCESS, Answer(0x00, struct.pack("<BH", Status.SUCCESS, asked.group_id)), []


def _remove_group(device: Device, asked: Any) -> Outcome:
    status = Status.SUCCESS if asked.group_id in device.groups else Status.NOT_FOUND
    device.groups.discard(int(asked.group_id))
    return Status.SUCCESS, Answer(0x03, struct.pack("<BH", status, asked.group_id)), []


def _membership(device: Device, asked: Any) -> Outcome:
    among = [g for g in sorted(device.groups) if not asked.groups or g in asked.groups]
    return (
        Status.SUCCESS,
        Answer(0x02, struct.pack(f"<BB{len(among)}H", _SAME, len(among), *among)),
        [],
    )


def _leave_groups(device: Device, _asked: Any) -> Outcome:
    device.groups.clear()
    return _done([])


def _identify(device: Device, asked: Any) -> Outcome:
    return _done(device.put(Identify, "identify_time", int(asked.identify_time)))


def _ota(header: Any) -> Outcome:
    """Image Notify makes it ask for the next image; an answer to that needs none."""
    if header.command_id != Ota.ClientCommandDefs.image_notify.id:
        return Status.SUCCESS, None, []
    nothing_more, image_type, version = 0, 0x0101, 0x01000000
    query = struct.pack("<BHHI", nothing_more, 0x1168, image_type, version)
    return Status.SUCCESS, Answer(Ota.ServerCommandDefs.query_next_image.id, query), []


_SERVERS = (OnOff, LevelControl, Groups, Identify)
_HANDLERS: dict[tuple[int, str], Callable[[Device, Any], Outcome]] = {
    (OnOff.cluster_id, "on"): lambda device, _: _done(switch(device, True)),
    (OnOff.cluster_id, "off"): lambda device, _: _done(switch(device, False)),
    (OnOff.cluster_id, "off_with_effect"): lambda device, _: _done(switch(device, False)),
    (OnOff.cluster_id, "toggle"): _toggle,
    (LevelControl.cluster_id, "move_to_level"): _to_level(False),
    (LevelControl.cluster_id, "move_to_level_with_on_off"): _to_level(True),
    (LevelControl.cluster_id, "move"): _move(False),
    (LevelControl.cluster_id, "move_with_on_off"): _move(True),
    (LevelControl.cluster_id, "step"): _step(False),
    (LevelControl.cluster_id, "step_with_on_off"): _step(True),
    (LevelControl.cluster_id, "stop"): lambda _device, _asked: _done([]),
    (LevelControl.cluster_id, "stop_with_on_off"): lambda _device, _asked: _done([]),
    (Groups.cluster_id, "add"): _add_group,
    (Groups.cluster_id, "remove"): _remove_group,
    (Groups.cluster_id, "get_membership"): _membership,
    (Groups.cluster_id, "remove_all"): _leave_groups,
    (Identify.cluster_id, "identify"): _identify,
    (Identify.cluster_id, "trigger_effect"): lambda _device, _asked: _done([]),
}

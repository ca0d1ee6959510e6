"""The radio: its memory, what runs until the next restart, and the devices that hear it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import zigpy_znp.commands as c
import zigpy_znp.types as t

from twin.devices.zigbee import memory as nv
from twin.devices.zigbee.device import Device, Said
from twin.devices.zigbee.kinds import ENDPOINT, KINDS, kind_of
from twin.devices.zigbee.memory import Memory

LINK_QUALITY = 120
COORDINATOR = 0x0000
FOREVER = 255
_REMEMBERED = 500  # events


class Radio:
    """A Zigbee coordinator and its devices.

    Args:
        emit: told every message that the radio sends of its own accord.
        clock: seconds, never going back.
    """

    def __init__(self, emit: Callable[[Any], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.emit = emit
        self.memory: Memory = nv.fresh()
        self.devices = {name: Device.new(kind) for name, kind in KINDS.items()}
        self.state = t.DeviceState.InitializedNotStarted
        self.endpoints: dict[int, Any] = {}
        self.groups: set[tuple[int, int]] = set()
        self.events: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self._clock = clock
        self._open_until = 0.0
        self._tsn = 0

    # ------------------------------------------------------------------ the radio itself

    def restart(self) -> None:
        """What a reset does: all that is not in the memory is gone."""
        nv.reset(self.memory)
        self.state = t.DeviceState.InitializedNotStarted
        self.endpoints, self.groups, self._open_until = {}, set(), 0.0
        self.note("radio", "restarted")

    def start(self) -> None:
        """Start the network that is in the memory; a new one where there is none."""
        if not nv.formed(self.memory):
            nv.form(self.memory)
            self.note("radio", "formed a network")
        self.state = t.DeviceState.StartedAsCoordinator
        self.emit(c.ZDO.StateChangeInd.Callback(State=self.state))

    @property
    def started(self) -> bool:
        """Whether the network is on the air."""
        return bool(self.state == t.DeviceState.StartedAsCoordinator)

    def permit(self, seconds: int) -> None:
        """Let devices join for so long (0: no more, 255: until told otherwise)."""
        self._open_until = float("inf") if seconds == FOREVER else self._clock() + seconds
        for device in self.devices.values():
            self.try_joining(device)

    @property
    def open(self) -> bool:
        """Whether a device may join now."""
        return self._clock() < self._open_until

    # ------------------------------------------------------------------ its devices

    def reaches(self, device: Device) -> bool:
        """Whether radio and device hear each other: same network, same key, alive."""
        return self.started and not device.silent and device.network == nv.network_id(self.memory) is not None

    def by_nwk(self, nwk: int) -> Device | None:
        """The device of a short address that answers, None: nobody does."""
        found = next((d for d in self.devices.values() if d.kind.nwk == nwk), None)
        return found if found and self.reaches(found) else None

    def by_ieee(self, ieee: Any) -> Device | None:
        """The device of an address that answers, None: nobody does."""
        kind = kind_of(ieee)
        return self.by_nwk(kind.nwk) if kind else None

    def try_joining(self, device: Device) -> None:
        """Let a device join, where it looks for a network and this one is open."""
        if not (device.pairing and self.open and self.started) or device.silent:
            return
        device.network, device.pairing = nv.network_id(self.memory), False
        address = t.EUI64.convert(device.kind.ieee)
        nv.remember(self.memory, address, device.kind.nwk)
        self.note(device.kind.name, "joined")
        self.emit(c.ZDO.TCDevInd.Callback(SrcNwk=device.kind.nwk, SrcIEEE=address, ParentNwk=COORDINATOR))
        self.announce(device)

    def announce(self, device: Device) -> None:
        """A device says that it is there, as after a change of battery."""
        capabilities = c.zdo.MACCapabilities(0x8E if device.kind.router else 0x80)
        address = t.EUI64.convert(device.kind.ieee)
        nwk = device.kind.nwk
        self.emit(c.ZDO.EndDeviceAnnceInd.Callback(Src=nwk, NWK=nwk, IEEE=address, Capabilities=capabilities))

    def leave(self, device: Device) -> None:
        """A device leaves the network and waits to be paired by hand."""
        address = t.EUI64.convert(device.kind.ieee)
        reached = self.reaches(device)
        device.reset()
        device.pairing = False
        nv.forget(self.memory, address)
        self.note(device.kind.name, "left")
        if reached:
            self.emit(
                c.ZDO.LeaveInd.Callback(
                    NWK=device.kind.nwk, IEEE=address, Request=False, Remove=False, Rejoin=False
                )
            )

    def say(self, device: Device, said: list[Said], to: int = ENDPOINT) -> None:
        """Carry what a device sends to the endpoint of the coordinator, where they hear each other."""
        if not self.reaches(device):
            return
        for frame in said:
            self._tsn = (self._tsn + 1) % 256
            self.emit(
                c.AF.IncomingMsg.Callback(
                    **{"GroupId": 0, "ClusterId": frame.cluster, "SrcAddr": device.kind.nwk},
                    **{"SrcEndpoint": ENDPOINT, "DstEndpoint": to, "WasBroadcast": False},
                    **{"LQI": LINK_QUALITY, "SecurityUse": False, "TimeStamp": 0, "TSN": self._tsn},
                    **{
                        "Data": t.ShortBytes(frame.data),
                        "MacSrcAddr": device.kind.nwk,
                        "MsgResultRadius": 30,
                    },
                )
            )

    def note(self, who: str, what: str, **more: Any) -> None:
        """Remember what happened, for `twin device log`."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.events.append({"at": at, "who": who, "what": what, **more})

    # ------------------------------------------------------------------ what survives

    def dump(self) -> dict[str, Any]:
        """What survives a power cut of radio and devices, as JSON keeps it."""
        devices = {name: device.dump() for name, device in self.devices.items()}
        return {"version": 1, "memory": self.memory.dump(), "devices": devices}

    def load(self, data: dict[str, Any]) -> None:
        """Be what `dump` described, just switched on."""
        self.memory = Memory.load(data["memory"])
        for name, device in self.devices.items():
            if name in data["devices"]:
                device.load(data["devices"][name])

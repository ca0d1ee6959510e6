"""A radio without a line, spoken to in frames; and the process of one on loopback."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zigpy_znp.commands as c
import zigpy_znp.types as t
from zigpy_znp.frames import GeneralFrame, TransportFrame
from zigpy_znp.types.nvids import OsalNvIds

from twin.devices.control import Devices
from twin.devices.zigbee import monitor
from twin.devices.zigbee.line import HANDLERS
from twin.devices.zigbee.radio import Radio
from twin.home import PROJECT

assert HANDLERS  # their import registers the commands
KEY = bytes(range(16))
PAN = 0x1A62
LIGHT, SENSOR = 0x5B32, 0x4A21
ON_OFF, LEVEL, TEMPERATURE = 6, 8, 0x402
WAIT = 40.0


class Spoken:
    """A radio, and what it said of its own accord."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[Any] = []
        self.radio = Radio(self.said.append, lambda: self.now)

    def ask(self, request: Any) -> Any:
        """Send a request; its response."""
        (frame,) = monitor.answer(self.radio, request.to_frame())
        return request.Rsp.from_frame(frame)

    def write(self, item: int, value: bytes) -> None:
        """Write an item as zigbee-herdsman does: make it where it is not there."""
        self.ask(c.SYS.OSALNVItemInit.Req(Id=item, ItemLen=len(value), Value=t.ShortBytes(value)))
        written = self.ask(c.SYS.OSALNVWriteExt.Req(Id=item, Offset=0, Value=t.LongBytes(value)))
        assert written.Status == t.Status.SUCCESS

    def commission(self, key: bytes = KEY, pan: int = PAN) -> None:
        """Make a network."""
        self.write(OsalNvIds.PANID, pan.to_bytes(2, "little"))
        self.write(OsalNvIds.PRECFGKEY, key)
        forming = c.app_config.BDBCommissioningMode.NwkFormation
        self.ask(c.AppConfig.BDBStartCommissioning.Req(Mode=forming))

    def permit(self, seconds: int) -> None:
        """Open the network."""
        request = c.ZDO.MgmtPermitJoinReq.Req(
            AddrMode=t.AddrMode.Broadcast, Dst=0xFFFC, Duration=seconds, TCSignificance=1
        )
        assert self.ask(request).Status == t.Status.SUCCESS

    def heard(self, kind: Any) -> list[Any]:
        """What it said of this kind since the last time; the rest is forgotten."""
        found = [message for message in self.said if isinstance(message, kind)]
        self.said.clear()
        return found

    def zcl(self, nwk: int, cluster: int, frame: str) -> list[str]:
        """Send a ZCL frame (hex); what came back (hex)."""
        self.said.clear()
        data = t.ShortBytes(bytes.fromhex(frame))
        fields = {
            "DstAddr": t.NWK(nwk),
            "DstEndpoint": 1,
            "SrcEndpoint": 1,
            "ClusterId": t.ClusterId(cluster),
        }
        options = c.af.TransmitOptions(0)
        self.ask(c.AF.DataRequest.Req(**fields, TSN=9, Options=options, Radius=30, Data=data))
        return [bytes(message.Data).hex() for message in self.heard(c.AF.IncomingMsg.Callback)]


def joined() -> Spoken:
    """A radio with a network in which both devices are."""
    spoken = Spoken()
    spoken.commission()
    spoken.permit(60)
    return spoken


@dataclass
class Process:
    """The radio's process on loopback."""

    folder: Path
    port: int
    running: subprocess.Popen[bytes] | None = None

    @property
    def devices(self) -> Devices:
        return Devices(self.folder / "door")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [
                    *(sys.executable, "-m", "twin.devices.zigbee", "--listen", f"127.0.0.1:{self.port}"),
                    *("--door", str(self.folder / "door"), "--state", str(self.folder / "state.json")),
                ],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + WAIT
        while not self._up():
            assert self.running.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "it does not come up"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGKILL is a power cut."""
        if self.running is not None:
            self.running.send_signal(number)
            self.running.wait(WAIT)
            self.running = None
            (self.folder / "door").unlink(missing_ok=True)

    def connect(self) -> Serial:
        """A client of its line."""
        return Serial(self.port)

    def _up(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.devices.state()["adapter"]["listening"])
        return False


class Serial:
    """A client of the line, with blocking calls."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self._buffer = b""

    def send(self, request: Any) -> None:
        self.send_bytes(TransportFrame(request.to_frame()).serialize())

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> GeneralFrame:
        """The next frame; EOFError where the line was closed."""
        while len(self._buffer) < 5 or len(self._buffer) < self._buffer[1] + 5:
            data = self._socket.recv(4096)
            if not data:
                raise EOFError
            self._buffer += data
        frame, self._buffer = TransportFrame.deserialize(self._buffer)
        return frame.payload

    def ping(self) -> bool:
        """Whether the radio answers."""
        self.send(c.SYS.Ping.Req())
        return bool(self.receive().header == c.SYS.Ping.Rsp.header)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def a_process(folder: Path, port: int) -> Iterator[Process]:
    """A radio that runs within the block."""
    process = Process(folder, port)
    try:
        process.start()
        yield process
    finally:
        process.stop()


def state_file(folder: Path) -> dict[str, Any]:
    """What the process wrote down."""
    read: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return read

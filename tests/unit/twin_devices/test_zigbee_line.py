"""The radio's process: its line is a serial line, its door does what it says, its memory is on disk."""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zigpy_znp.commands as c
import zigpy_znp.types as t
from broker_kit import free_ports
from radio_kit import WAIT, Process, Serial, a_process, state_file

from hearth.errors import HearthError


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A radio's process, for tests that leave it as it was."""
    with a_process(tmp_path_factory.mktemp("radio"), free_ports(1)[0]) as running:
        yield running


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A radio's process out of the box."""
    with a_process(tmp_path, free_ports(1)[0]) as running:
        yield running


def network(line: Serial, process: Process) -> None:
    """Form a network and let the devices join."""
    line.send(c.AppConfig.BDBStartCommissioning.Req(Mode=c.app_config.BDBCommissioningMode.NwkFormation))
    process.devices.wait("the network", lambda s: s["adapter"]["started"], WAIT)
    line.send(
        c.ZDO.MgmtPermitJoinReq.Req(AddrMode=t.AddrMode.Broadcast, Dst=0xFFFC, Duration=60, TCSignificance=1)
    )
    process.devices.wait("both", lambda s: all(d["joined"] for d in s["devices"].values()), WAIT)


def ended(line: Serial) -> bool:
    """Whether the other end hung up."""
    try:
        while True:
            line.receive()
    except (EOFError, ConnectionError):
        return True


def test_noise_on_the_line_harms_nothing(shared: Process) -> None:
    line = shared.connect()
    line.send_bytes(b"\xef" * 40)  # zigbee-herdsman wakes old bootloaders so
    line.send_bytes(bytes.fromhex("fe00210120fe0021ff"))  # wrong checksums
    assert line.ping()


def test_a_frame_may_come_in_pieces(shared: Process) -> None:
    line = shared.connect()
    for byte in bytes.fromhex("fe00210120"):
        line.send_bytes(bytes([byte]))
    assert line.receive().header == c.SYS.Ping.Rsp.header


def test_a_new_client_takes_the_line(shared: Process) -> None:
    old = shared.connect()
    assert old.ping()
    new = shared.connect()
    assert new.ping()
    assert ended(old)
    assert new.ping()


def test_the_radio_survives_its_clients_and_its_own_end(process: Process, tmp_path: Path) -> None:
    line = process.connect()
    network(line, process)
    line.close()
    process.devices.switch(on=True, level=77)
    process.stop(signal.SIGKILL)
    process.start()
    light = process.devices.light()
    assert (light["on"], light["level"]) == (True, 77)
    again = process.connect()
    again.send(c.ZDO.StartupFromApp.Req(StartDelay=100))
    process.devices.wait("both", lambda s: all(d["joined"] for d in s["devices"].values()), WAIT)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600, "the network's key is in it"
    assert stat.S_IMODE((tmp_path / "door").stat().st_mode) == 0o600
    assert state_file(tmp_path)["devices"]["light"]["network"]


def test_a_pulled_out_radio_hangs_up_and_is_not_there(process: Process) -> None:
    line = process.connect()
    network(line, process)
    process.devices.plug(False)
    assert ended(line)
    with pytest.raises(ConnectionError):
        process.connect()
    assert not process.devices.measure(temperature=20.0)
    process.devices.plug(True)
    again = process.connect()
    assert again.ping()
    assert not process.devices.state()["adapter"]["started"], "it lost its power"


def test_a_report_goes_out_where_somebody_hears_it(process: Process) -> None:
    assert not process.devices.measure(temperature=23.5), "nobody holds the line"
    line = process.connect()
    network(line, process)
    assert process.devices.measure(temperature=-3.25)
    assert process.devices.sensor()["temperature"] == -3.25
    end = time.monotonic() + WAIT
    while (frame := line.receive()).header != c.AF.IncomingMsg.Callback.header:
        assert time.monotonic() < end
    report = c.AF.IncomingMsg.Callback.from_frame(frame)
    assert bytes(report.Data)[-2:] == (-325).to_bytes(2, "little", signed=True)
    process.devices.act("sensor", "silence")
    assert not process.devices.measure(temperature=20.0)
    process.devices.act("sensor", "wake")
    assert process.devices.measure(temperature=20.0)
    process.devices.act("sensor", "leave")
    assert not process.devices.measure(temperature=20.0)
    process.devices.act("sensor", "join")
    assert process.devices.measure(temperature=20.0), "the network is still open"
    whats = [event["what"] for event in process.devices.events() if event["who"] == "sensor"]
    assert [what for what in whats if what != "measured"] == [
        "joined",
        "fell silent",
        "woke",
        "left",
        "joined",
    ]


@pytest.mark.parametrize("values", [{"pressure": 1000.0}, {"temperature": 200.0}])
def test_the_sensor_measures_only_what_it_can(shared: Process, values: dict[str, float]) -> None:
    with pytest.raises(HearthError, match="does not measure"):
        shared.devices.measure(**values)


def test_who_reaches_for_devices_that_do_not_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(HearthError, match="twin up"):
        Process(tmp_path, 1).devices.state()

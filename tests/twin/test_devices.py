"""The simulated devices in a twin: there after `up`, with addresses of their own, reached by `device`."""

from __future__ import annotations

import json
import sys

import pytest

from tests.twin.handle import TwinHandle
from twin import processes
from twin.devices.start import HOUSE, ZIGBEE, adapter, addresses
from twin.home import Home

PING = bytes.fromhex("fe00210120")
SPEAK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as line:
    line.sendall(bytes.fromhex(sys.argv[3]))
    print(line.recv(100).hex())
"""


def ping(twin: TwinHandle) -> str:
    """What the adapter answers to a ping from inside the twin."""
    host, _, port = adapter(Home(**twin.twin.load()["home"])).removeprefix("tcp://").rpartition(":")
    return twin.command("exec", "--", sys.executable, "-c", SPEAK, host, port, PING.hex()).stdout.strip()


def test_they_are_up_with_the_twin(twin: TwinHandle) -> None:
    shown = twin.command("status")
    assert shown.returncode == 0, shown.stdout
    assert "tcp://192.168.1.170:6638" in shown.stdout
    assert ping(twin).startswith("fe026101"), "an answer in Z-Stack's frames"
    assert all(processes.alive(twin.twin, role) for role in (ZIGBEE, HOUSE))
    assert twin.command("log", HOUSE).stdout == "", "it waits for its login quietly"


def test_the_light_is_switched_by_hand_and_asked(twin: TwinHandle) -> None:
    refused = twin.command("device", "light", "on", "--level", "90")
    assert refused.returncode == 1, "it has not joined: nobody hears its report"
    light = json.loads(twin.command("device", "light").stdout)
    assert (light["on"], light["level"], light["joined"]) == (True, 90, False)


def test_a_pulled_adapter_is_not_there(twin: TwinHandle) -> None:
    assert twin.command("device", "unplug").returncode == 0
    try:
        assert ping(twin) == ""
    finally:
        assert twin.command("device", "plug").returncode == 0
    assert ping(twin).startswith("fe026101")


def test_up_starts_a_dead_one_again_with_its_memory(twin: TwinHandle) -> None:
    twin.command("device", "light", "off", "--level", "33")
    processes.stop(twin.twin, ZIGBEE)
    assert twin.command("status").returncode == 1
    assert twin.command("up").returncode == 0
    light = json.loads(twin.command("device", "light").stdout)
    assert (light["on"], light["level"]) == (False, 33)


@pytest.mark.parametrize("known", [[], ["192.168.1.170", "192.168.1.172"]])
def test_no_device_takes_an_address_that_somebody_has(twin: TwinHandle, known: list[str]) -> None:
    home = Home(**twin.twin.load()["home"])
    home.known += known
    found = [str(address.ip) for address in addresses(home)]
    assert len(found) == 3
    assert not set(found) & set(home.known)

"""Starts the devices with the twin, at addresses of their own on its first network."""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Interface, ip_address, ip_interface

from twin import namespace, processes
from twin.devices.control import SOCKET
from twin.home import PROJECT, Home
from twin.state import Twin

ZIGBEE = "zigbee"
HOUSE = "house"
ROLES = (ZIGBEE, HOUSE)
PORT = 6638
BROKER_PORT = 8883
_FIRST = 170  # the devices' addresses count from here: past those that homes and tests like to take
_COUNT = 3  # the Zigbee adapter, the house, the phone


def addresses(home: Home) -> list[IPv4Interface]:
    """The devices' addresses on the first IPv4 network, with its prefix: of adapter, house and phone.

    Args:
        home: what nobody may share an address with.

    Returns:
        Three; none where there is no network with room for them.
    """
    first = next((a for s in home.segments for a in s.addresses if ":" not in a), None)
    if first is None:
        return []
    network = ip_interface(first).network
    free = [
        IPv4Interface(f"{network[n]}/{network.prefixlen}")
        for n in range(_FIRST, network.num_addresses - 1)
        if str(network[n]) not in home.known
    ]
    return free[:_COUNT] if len(free) >= _COUNT else []


def running(home: Home) -> list[str]:
    """Which of the processes this home has."""
    here = addresses(home)
    return [role for role, wanted in ((ZIGBEE, bool(here)), (HOUSE, bool(here and home.brokers))) if wanted]


def adapter(home: Home) -> str:
    """The Zigbee adapter, as Zigbee2MQTT is told it."""
    return f"tcp://{addresses(home)[0].ip}:{PORT}"


def start(twin: Twin, home: Home, restart: bool) -> None:
    """Give the devices their addresses and start them; what runs stays, unless `restart`."""
    wanted = running(home)
    bridge = next((s.bridge for s in home.segments if any(":" not in a for a in s.addresses)), "")
    for address in addresses(home):
        namespace.inside(twin, "ip", "addr", "replace", str(address), "dev", bridge)
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    commands = {ZIGBEE: _zigbee, HOUSE: _house}
    for role in ROLES:
        if restart or role not in wanted:
            processes.stop(twin, role)
        if role in wanted and processes.alive(twin, role) is None:
            argv = [sys.executable, "-m", f"twin.devices.{role}", *commands[role](twin, home)]
            processes.start(twin, role, ["nsenter", f"--net={twin.netns_file}", "--", *argv], env)


def _zigbee(twin: Twin, home: Home) -> list[str]:
    state = twin.private / "zigbee.json"
    line = f"{addresses(home)[0].ip}:{PORT}"
    return ["--listen", line, "--door", str(twin.private / SOCKET), "--state", str(state)]


def _house(twin: Twin, home: Home) -> list[str]:
    own = twin.private / "hearth"
    brokers = [f"--broker={ip_address(broker)}:{BROKER_PORT}" for broker in home.brokers]
    return [
        *brokers,
        *("--secrets", str(own / "secrets.age"), "--identity", str(own / "age.key")),
        *("--state", str(twin.private / "house.json"), "--source", str(addresses(home)[1].ip)),
    ]

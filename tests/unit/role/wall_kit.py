"""Two network namespaces joined by a cable: a guest behind its wall, and everybody else on the other side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from role_kit import NODE, PROJECT, FakeRun, dual, group_data

from hearth.firewall.flows import Flow, flows, pingers
from hearth.firewall.settings import read_settings
from hearth.fleet.model import Fleet, Network
from hearth.ops.files import File
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Port, Role
from tests.knocking import Knock

LAN = Network(
    name="lan", bridge="vmbr0", subnet=IPv4Network("192.168.1.0/24"), subnet6=IPv6Network("fd00::/64")
)
FLEET = Fleet(
    nodes=(NODE,),
    networks=(LAN,),
    guests=(
        dual("gate", 134, "front_door", "front"),
        dual("ha", 132, "home_assistant", "front"),
        dual("comms", 135, "mosquitto", "zigbee2mqtt", "front"),
        dual("db", 136, "postgresql"),
        dual("db2", 139, "postgresql"),
        dual("bare", 150, "clock"),
    ),
)
DATA: dict[str, Any] = {
    "wall_enabled": True,
    "firewall_management": ["192.168.1.10", "fd00::10"],
    "firewall_iot": ["192.168.1.200/30", "fd00::200/126"],
    "firewall_outside": ["192.168.1.141", "fd00::141"],
    "firewall_lan": ["192.168.20.0/24", "fd20::/64"],
    "front_redirect": {"comms": "zigbee2mqtt.web"},
}
STRANGERS = ("203.0.113.9", "2001:db8::9")
PEOPLE = (
    *("192.168.1.10", "fd00::10"),  # where the admin works
    *("192.168.1.77", "fd00::77"),  # a phone at home
    *("192.168.1.201", "fd00::201"),  # a lamp
    *("192.168.1.141", "fd00::141"),  # whoever comes through the subnet router
    *("192.168.20.5", "fd20::5"),  # a phone in a VLAN
    *STRANGERS,
)
ELSEWHERE = (("tcp", 9), ("udp", 53), ("tcp", 111))  # ports that no flow has


def a_run(fleet: Fleet = FLEET) -> FakeRun:
    """A run with a role that serves UDP: none of the project's own does."""
    run = FakeRun(fleet)
    run.roles["clock"] = Role(provides=(Port("time", 123, protocol="udp", audience="lan"),), name="clock")
    return run


def rules(name: str, fleet: Fleet = FLEET, **data: Any) -> File:
    """The role's file for one guest."""
    run = a_run(fleet)
    from roles.wall import rules as made  # loaded by the catalogue

    return made(run.here(name, "wall", **{**DATA, **data}))


def table(fleet: Fleet = FLEET, **data: Any) -> tuple[Flow, ...]:
    """The flows, as the role has them."""
    return flows(fleet, a_run(fleet).roles, read_settings(group_data(**{**DATA, **data}), fleet))


def may_ping(address: Any, **data: Any) -> bool:
    """Whether the flows let an address ping."""
    return address in pingers(FLEET, read_settings(group_data(**{**DATA, **data}), FLEET))


def everybody() -> tuple[str, ...]:
    """An address of every kind, those of all guests among them."""
    guests = (str(address) for guest in FLEET.guests for address in fixed_addresses(guest))
    return (*PEOPLE, *guests)


class TwoSides:
    """A guest's network and everybody else's; gone with `close`.

    Args:
        addresses: the guest's.
        others: who is on the other side.
    """

    def __init__(self, addresses: Sequence[str], others: Sequence[str]) -> None:
        self.addresses = addresses
        self.guest, self.outside = f"hearth-{os.getpid()}-in", f"hearth-{os.getpid()}-out"
        self._serving: list[subprocess.Popen[str]] = []
        for name in (self.guest, self.outside):
            _ip("netns", "add", name)
        pair = f"link add eth0 type veth peer eth0 netns {self.outside}"
        _batch(self.guest, [pair, *_links(), *_addresses(addresses), *_routes(["0.0.0.0/0", "::/0"])])
        _batch(self.outside, [*_links(), *_addresses([*others, "fe80::77"]), *_routes(addresses)])

    def run(self, *argv: str, outside: bool = False, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program on one side, the guest's unless said."""
        where = self.outside if outside else self.guest
        return subprocess.run(
            ["ip", "netns", "exec", where, *argv],
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def nft(self, text: str) -> None:
        """Load rules in the guest; they must be accepted by `nft -c` first."""
        for options in (("-c",), ()):
            done = self.run("nft", *options, "-f", "-", stdin=text)
            assert done.returncode == 0, done.stderr

    def listed(self) -> str:
        """Everything that nftables holds in the guest."""
        return self.run("nft", "-s", "list", "ruleset").stdout

    def serve(self, ports: Sequence[tuple[str, int]], outside: str = "") -> None:
        """Listen on ports of the guest, or of an address outside."""
        where = self.outside if outside else self.guest
        argv = ["ip", "netns", "exec", where, *_knocker("serve"), *([outside] if outside else [])]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._serving.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(ports) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"

    def knock(self, knocks: Sequence[Knock], from_guest: bool = False) -> dict[Knock, str]:
        """What each knock met, from the outside unless said."""
        asked = json.dumps([asdict(one) for one in knocks]) + "\n"
        done = self.run(*_knocker("knock"), outside=not from_guest, stdin=asked)
        assert done.returncode == 0, done.stderr
        return dict(zip(knocks, json.loads(done.stdout), strict=True))

    def close(self) -> None:
        """End what listens, and remove both namespaces."""
        for process in self._serving:
            process.communicate()
        for name in (self.guest, self.outside):
            _ip("netns", "del", name)


def _knocker(what: str) -> tuple[str, ...]:
    return (sys.executable, str(PROJECT / "tests/knocking.py"), what)


def _links() -> list[str]:
    return ["link set lo up", "link set eth0 up"]


def _addresses(own: Sequence[str]) -> list[str]:
    return [f"addr add {address} dev eth0{' nodad' if ':' in address else ''}" for address in own]


def _routes(targets: Sequence[str]) -> list[str]:
    return [f"route add {target} dev eth0" for target in targets]


def _batch(name: str, lines: Sequence[str]) -> None:
    """Commands of ip(8) in a namespace."""
    done = subprocess.run(
        ["ip", "-n", name, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

"""Proxmox's firewall as Hearth keeps it, in a twin that enforces what the API stores.

Four guests with the roles of a home on paper (nothing is installed: their ports are served by the test), and
a control machine of its own on the LAN, because what runs on the node itself is let in by the node.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.errors import HearthError
from hearth.firewall.flows import Flow, flows, pingers
from hearth.firewall.settings import Settings, read_settings
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet
from hearth.role.catalogue import load_roles
from hearth.role.certificates import fixed_addresses
from tests.twin.annex_kit import fleet_of
from tests.twin.handle import NODE, TwinHandle, until
from tests.twin.wall_kit import Door, Machine, check, of_guest, stranger, wipe
from twin.execute import environment
from twin.home import PROJECT

pytestmark = pytest.mark.slow
GUESTS = {
    "hall": (231, ["front_door"]),
    "loft": (232, ["mosquitto", "mcp_hub"]),
    "one": (233, ["postgresql"]),
    "two": (234, ["postgresql", "mosquitto"]),
}
FOUR, SIX = "192.168.1.{}", "fd48:6561:7274::{}"
CONTROL, OTHER, STRANGER, DEVICE, OUTSIDE = 9, 10, 77, 50, 41
CLOSED = (80, 9999, 13000)  # ports that nobody declares
PATIENCE = 300  # seconds that one command may take
DEPLOY = """\
from hearth.deploy import guest, node

node.prepare()
guest.present()
node.firewall()
"""
WITHOUT_SSH = """\
from dataclasses import replace
from hearth import run

base = run.current().roles["base"]
base.provides = tuple(replace(port, audience="host") for port in base.provides)
"""
VALUES: dict[str, Any] = {
    "firewall_management": [FOUR.format(CONTROL), SIX.format(CONTROL)],
    "firewall_iot": [FOUR.format(DEVICE), SIX.format(DEVICE)],
    "firewall_outside": [FOUR.format(OUTSIDE), SIX.format(OUTSIDE)],
}


@dataclass
class Control:
    """The machine from which the home is kept: 192.168.1.9, and its project."""

    twin: TwinHandle
    machine: Machine
    place: Path

    @property
    def fleet_file(self) -> Path:
        return self.place / "fleet.yaml"

    @property
    def fleet(self) -> Fleet:
        return load_fleet(self.fleet_file, load_roles(PROJECT / "roles"))

    def settings(self) -> Settings:
        own = [ip_address(form.format(CONTROL)) for form in (FOUR, SIX)]
        return read_settings(VALUES, self.fleet, own)

    def start(self, deploy: str = DEPLOY, **values: Any) -> subprocess.Popen[str]:
        """`pyinfra inventory FILE -y` on this machine, with these values of group_data."""
        (self.place / "walls.py").write_text(deploy)
        (self.place / "overrides.yaml").write_text(yaml.safe_dump({**VALUES, **values}))
        own = {
            "HEARTH_FLEET": str(self.fleet_file),
            "HEARTH_OVERRIDES": str(self.place / "overrides.yaml"),
            "HEARTH_SECRETS": str(self.place / "secrets.age"),
            "HEARTH_AGE_KEY_FILE": str(self.place / "age.key"),
            "HEARTH_STATE_DIR": str(self.place / "state"),
        }
        pyinfra = str(Path(sys.executable).with_name("pyinfra"))
        return subprocess.Popen(
            [
                *("nsenter", f"--net={self.machine.namespace}", "--"),
                *(pyinfra, "inventory", str(self.place / "walls.py"), "-y"),
            ],
            cwd=PROJECT,
            env={**environment(self.twin.twin, os.environ), **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def deploy(self, deploy: str = DEPLOY, **values: Any) -> tuple[int, str]:
        """The same, to its end: exit code and what it said."""
        process = self.start(deploy, **values)
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return process.returncode, said

    def settle(self, **values: Any) -> str:
        """Deployed, well."""
        code, said = self.deploy(**values)
        assert code == 0, said
        assert self.enable == 1
        return said

    @property
    def enable(self) -> int:
        """What the node says of its switch, asked on the node itself."""
        return int(self.twin.as_root("GET", "/cluster/firewall/options").get("enable") or 0)

    def stored(self) -> Any:
        """Every set and group, and the guests' rules; without positions and digests."""
        top = "/cluster/firewall"
        paths = [f"{top}/ipset/{row['name']}" for row in self.twin.as_root("GET", f"{top}/ipset")]
        paths += [f"{top}/groups/{row['group']}" for row in self.twin.as_root("GET", f"{top}/groups")]
        paths += [f"/nodes/pve/lxc/{vmid}/firewall/rules" for vmid, _ in GUESTS.values()]
        return {path: sorted(map(_bare, self.twin.as_root("GET", path))) for path in paths}

    def reaches(self, address: str, port: int) -> bool:
        """Whether this machine opens a new connection."""
        return connects(self.machine, address, port)


def _bare(row: dict[str, Any]) -> str:
    return str(sorted((k, str(v)) for k, v in row.items() if k not in ("digest", "pos")))


def connects(machine: Machine, address: str, port: int) -> bool:
    try:
        machine.run("timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{port}")
    except HearthError:
        return False
    return True


@pytest.fixture(scope="module")
def twin(unwalled_twin: TwinHandle) -> TwinHandle:
    """A twin without the home, whose firewall is another one."""
    return unwalled_twin


@pytest.fixture(scope="module")
def control(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """The control machine, and the guests made from it."""
    place = tmp_path_factory.mktemp("firewall")
    guests = {
        name: {
            "kind": "lxc",
            "address": FOUR.format(last),
            "address6": SIX.format(last),
            "memory": "256 MiB",
            "disk": "4 GiB",
            "roles": roles,
        }
        for name, (last, roles) in GUESTS.items()
    }
    file = {**fleet_of(**guests), "firewall": True}
    (place / "fleet.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
    try:
        with stranger(twin.twin, CONTROL) as machine:
            machine.run("ip", "addr", "add", f"{FOUR.format(OTHER)}/24", "dev", "eth0")
            yield Control(twin, machine, place)
    finally:
        twin.as_root("PUT", "/cluster/firewall/options", enable="0")
        for vmid, _ in GUESTS.values():
            twin.remove("lxc", vmid)
        wipe(twin)


@pytest.fixture(scope="module")
def settled(control: Control) -> Control:
    """The firewall on, for the first time."""
    said = control.settle()
    assert "group/h-mosquitto: + in accept tcp 8883 from hearth-lan" in said
    return control


@pytest.fixture(scope="module")
def machines(settled: Control) -> Iterator[dict[str, Machine]]:
    """Who knocks: kinds of sources, and every guest; the guests answer at every port."""
    twin = settled.twin.twin
    table = flows(settled.fleet, load_roles(PROJECT / "roles"), settled.settings())
    ports = sorted({flow.port for flow in table if flow.port != 22} | set(CLOSED))
    with ExitStack() as stack:
        found = {
            str(number): stack.enter_context(stranger(twin, number)) for number in (STRANGER, DEVICE, OUTSIDE)
        }
        for name, (vmid, _) in GUESTS.items():
            found[name] = stack.enter_context(closing(of_guest(twin, vmid)))
            found[name].serve(*(("tcp", form.format(vmid), port) for form in (FOUR, SIX) for port in ports))
        yield found


def expected(
    fleet: Fleet, table: tuple[Flow, ...], settings: Settings, name: str, number: int
) -> Iterator[tuple[Door, str]]:
    """What a machine must find at every door of every other guest."""
    may_ping = pingers(fleet, settings)
    ports = sorted({flow.port for flow in table} | set(CLOSED))
    for guest in fleet.guests:
        if guest.name == name:
            continue  # a guest reaches itself over its loopback
        for address in fixed_addresses(guest):
            source = ip_address((FOUR if address.version == 4 else SIX).format(number))
            for port in ports:
                lets = any(
                    (flow.guest, flow.port) == (guest.name, port) and source in flow.sources for flow in table
                )
                yield ("tcp", str(address), port), "open" if lets else "closed"
            yield ("ping", str(address), 0), "open" if source in may_ping else "closed"


def test_exactly_the_table_answers_from_everywhere(settled: Control, machines: dict[str, Machine]) -> None:
    fleet, settings = settled.fleet, settled.settings()
    table = flows(fleet, load_roles(PROJECT / "roles"), settings)
    assert {flow.who for flow in table} == {"management", "lan", "fleet", "iot", "outside", "door"}
    numbers = {str(number): number for number in (STRANGER, DEVICE, OUTSIDE)}
    numbers |= {name: last for name, (last, _) in GUESTS.items()}
    for name, machine in {**machines, str(CONTROL): settled.machine}.items():
        check(machine, expected(fleet, table, settings, name, numbers.get(name, CONTROL)))


def test_the_node_answers_to_management_alone(settled: Control, machines: dict[str, Machine]) -> None:
    for port in (22, 8006):
        assert settled.reaches(NODE, port)
        for machine in machines.values():
            assert not connects(machine, NODE, port), f"{machine.name} reaches the node's {port}"


def test_a_second_run_is_silent(settled: Control) -> None:
    before = len(settled.twin.log())
    settled.settle()
    assert [row for row in settled.twin.log()[before:] if row["method"] != "GET"] == []


# ---------------------------------------------------------------- the dead man, in real time


def test_ssh_of_the_guests_dropped_ends_with_the_old_rules(settled: Control) -> None:
    settled.settle()
    before = settled.stored()
    code, said = settled.deploy(WITHOUT_SSH + DEPLOY)
    assert code != 0
    assert "SSH of loft" in said
    assert "the old rules are back and the firewall is on" in said
    assert "Traceback" not in said
    assert (settled.enable, settled.stored()) == (1, before)
    assert settled.reaches(FOUR.format(GUESTS["loft"][0]), 22)


@pytest.fixture
def translated(settled: Control) -> Iterator[Control]:
    """The control machine behind a NAT router: the node sees another address than its own."""
    settled.settle(firewall_management=[FOUR.format(CONTROL), FOUR.format(OTHER)])
    rule = f"add rule ip nat out ip daddr 192.168.1.0/24 snat to {FOUR.format(OTHER)}"
    chain = "add chain ip nat out { type nat hook postrouting priority 100; }"
    for line in ("add table ip nat", chain, rule):
        settled.machine.run("nft", line)
    yield settled
    settled.machine.run("nft", "delete table ip nat")
    settled.settle()


def test_a_management_set_without_us_ends_with_the_old_rules(translated: Control) -> None:
    before = translated.stored()
    process = translated.start(firewall_management=[FOUR.format(STRANGER)])
    until(lambda: not translated.reaches(NODE, 8006) or None)  # cut off, for a while
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "the API of pve" in said
    assert "the old rules are back and the firewall is on" in said, said
    assert (translated.enable, translated.stored()) == (1, before)
    assert translated.reaches(NODE, 8006)
    assert translated.reaches(FOUR.format(GUESTS["one"][0]), 22)
    assert not list(translated.place.glob("state/firewall-*"))


def test_killed_while_we_are_cut_off_it_opens_within_75_seconds_and_the_next_run_ends_well(
    translated: Control,
) -> None:
    process = translated.start(firewall_management=[FOUR.format(STRANGER)])
    until(lambda: not translated.reaches(NODE, 8006) or None)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    began = time.monotonic()
    assert translated.enable > 1
    assert not translated.reaches(NODE, 8006), "nobody is left to put it right"
    until(lambda: translated.reaches(NODE, 8006) or None, patience=80)
    assert time.monotonic() - began < 75
    assert translated.enable == 0, "the switch ran out, and nothing else opened it"
    code, said = translated.deploy(firewall_management=[FOUR.format(STRANGER)])  # no better now
    assert code != 0
    assert "its old rules are what to go back to" in said
    assert "the old rules are back and the firewall is on" in said
    assert translated.enable == 1
    assert translated.reaches(NODE, 8006)
    assert not list(translated.place.glob("state/firewall-*"))

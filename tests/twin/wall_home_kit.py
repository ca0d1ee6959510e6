"""A small home whose guests have walls of their own, and knocks from everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hearth.firewall.flows import Flow, flows, pingers
from hearth.firewall.settings import read_settings
from hearth.path import addresses_towards
from hearth.role.catalogue import load_roles
from hearth.role.certificates import fixed_addresses
from hearth.secrets import SecretStore, ensure_ssh_key
from hearth.values import tuned
from tests.knocking import Knock
from tests.twin.annex_kit import fleet_of
from tests.twin.handle import TwinHandle
from tests.twin.home_kit import Home, copy_project
from twin.home import PROJECT

VALUES = {
    "firewall_iot: list[str] = []": 'firewall_iot = ["192.168.1.200/30", "fd48:6561:7274::200/126"]',
    "firewall_management: list[str] = []": 'firewall_management = ["192.168.1.10", "fd48:6561:7274::10"]',
}
# Ports without a program: what stands behind the wall is served by the test.
STORE = '''"""A store that only who needs it may reach."""
from hearth.role.declaration import Port, Role
role = Role(provides=(Port("sql", 5433), Port("time", 5123, protocol="udp", audience="lan")))
role.deploy(lambda here: None)
'''
USER = '''"""It needs the store."""
from hearth.role.declaration import Need, Role
role = Role(needs=(Need("store", "sql"),))
role.deploy(lambda here: None)
'''
GUESTS: dict[str, dict[str, Any]] = {
    "gate": {"address": "192.168.1.153", "roles": ["front_door"]},
    "shelf": {"address": "192.168.1.154", "roles": ["mosquitto", "store"]},
    "desk": {"address": "192.168.1.155", "roles": ["user"], "restart": "allowed"},
}
LAMP = ("192.168.1.201", "fd48:6561:7274::201")
PHONE = ("192.168.1.77", "fd48:6561:7274::77")
STRANGER = ("203.0.113.9", "2001:db8::9")
ADMIN = ("192.168.1.10", "fd48:6561:7274::10")
OUTSIDERS = (*LAMP, *PHONE, *STRANGER, *ADMIN)
ELSEWHERE = (("tcp", 9), ("tcp", 111), ("udp", 53))
RULES = "/etc/hearth/wall.nft"
LIST = "nft -s list table inet hearth"


@dataclass(frozen=True)
class Walled:
    """The home, and who knocks at it."""

    home: Home

    @property
    def table(self) -> tuple[Flow, ...]:
        """The flows, as `hearth flows` has them in this project."""
        roles = load_roles(self.home.project / "roles")
        return flows(self.home.fleet, roles, self.settings)

    @property
    def settings(self) -> Any:
        """The project's values, and the machine that deploys."""
        return read_settings(tuned(self.home.project, {}), self.home.fleet, self.own)

    @property
    def own(self) -> tuple[Any, ...]:
        """The deploying machine's addresses towards the fleet."""
        return self.home.twin.call(lambda: addresses_towards(self.home.fleet))

    def addresses(self, guest: str) -> tuple[str, ...]:
        """A guest's addresses."""
        return tuple(str(address) for address in fixed_addresses(self.home.fleet.guest(guest)))

    def knocks(self, sources: Iterable[str], guest: str) -> list[Knock]:
        """Every port that any guest has, and some that none has, at one guest."""
        table = self.table
        ports = sorted({(flow.protocol, flow.port) for flow in table} | set(ELSEWHERE))
        may_ping = pingers(self.home.fleet, self.settings)
        found = []
        for source in sources:
            target = next(each for each in self.addresses(guest) if (":" in each) == (":" in source))
            for protocol, port in ports:
                answer = any(
                    (flow.guest, flow.protocol, flow.port) == (guest, protocol, port)
                    and ip_address(source) in flow.sources
                    for flow in table
                )
                found.append(Knock(source, target, protocol, port, answer))
            found.append(Knock(source, target, "ping", 0, ip_address(source) in may_ping))
        return found

    @contextmanager
    def outsiders(self) -> Iterator[None]:
        """The twin's own machine has everybody's addresses who is no guest; guests know the way back."""
        for address in OUTSIDERS:
            # Deprecated: nobody but a knock has such an address; the deploying machine goes on with its own.
            six = ["nodad", "preferred_lft", "0"] if ":" in address else []
            self._network("addr", "add", address, "dev", "vmbr0", *six)
        try:
            for guest in self.home.fleet.guests:  # the fleet's IPv6 has no gateway
                self.home.said(guest.name, f"ip -6 route replace {STRANGER[1]} dev eth0")
            yield
            for guest in self.home.fleet.guests:
                # One that restarted meanwhile has forgotten it.
                self.home.said(guest.name, f"ip -6 route flush {STRANGER[1]}")
        finally:
            for address in OUTSIDERS:
                self._network("addr", "del", address, "dev", "vmbr0")

    @contextmanager
    def served(self) -> Iterator[None]:
        """Something answers on every port of every guest, where no service does."""
        guests = [guest.name for guest in self.home.fleet.guests]
        ports = {(one.protocol, one.port) for one in self.knocks(STRANGER, guests[0])} - {("ping", 0)}
        with ExitStack() as stack:
            for guest in guests:
                process = self.serve(guest, sorted(ports))
                stack.callback(process.communicate)
            yield

    def _network(self, *words: str) -> None:
        """`ip` in the twin's network."""
        argv = ["nsenter", f"--net={self.home.twin.twin.netns_file}", "--", "ip", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def knock(self, knocks: Sequence[Knock], guest: str | None = None) -> dict[Knock, str]:
        """What each knock met, from the LAN or from a guest."""
        asked = json.dumps([asdict(one) for one in knocks]) + "\n"
        argv = [*self._inside(guest), *_knocker("knock")]
        done = subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return dict(zip(knocks, json.loads(done.stdout), strict=True))

    def serve(self, guest: str, ports: Sequence[tuple[str, int]]) -> subprocess.Popen[str]:
        """Listen on ports of a guest that have no service; ends with its input."""
        argv = [*self._inside(guest), *_knocker("serve")]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(ports) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        return process

    def _inside(self, guest: str | None) -> list[str]:
        twin = self.home.twin.twin
        enter = ["nsenter", f"--net={twin.netns_file}", "--"]
        if guest is None:
            return enter
        vmid = str(self.home.fleet.guest(guest).vmid)
        said = subprocess.run(
            [*enter, "lxc-info", "-P", str(twin.guests), "-n", vmid, "-pH"],
            capture_output=True,
            text=True,
            check=True,
        )
        return ["nsenter", f"--net=/proc/{said.stdout.strip()}/ns/net", "--"]


def wrong(met: dict[Knock, str]) -> dict[Knock, str]:
    """What was not as the flows have it."""
    return {one: found for one, found in met.items() if found != ("open" if one.answer else "silent")}


def _knocker(what: str) -> tuple[str, ...]:
    return (sys.executable, str(PROJECT / "tests/knocking.py"), what)


def make(twin: TwinHandle, place: Path) -> Walled:
    """The home's files; not deployed yet."""
    project = copy_project(place / "project")
    path = project / "group_data/all.py"
    text = path.read_text()
    for old, new in VALUES.items():
        text = text.replace(old, new)
    path.write_text(text)
    assert tuned(project, {})["wall_enabled"] is True
    assert tuned(project, {})["firewall_iot"]
    assert tuned(project, {})["firewall_management"]
    for name, text in {"store": STORE, "user": USER}.items():
        (project / f"roles/{name}.py").write_text(text)
    content = fleet_of(**{name: {"kind": "lxc", **keys} for name, keys in GUESTS.items()})
    for guest in content["guests"].values():
        guest["address6"] = "fd48:6561:7274::" + guest["address"].rpartition(".")[2]
    home = Home(twin, place, project, project / "inventory/fleet.yaml", own_secrets=True).with_fleet(
        project / "inventory", content
    )
    home.vault.mkdir(mode=0o700, exist_ok=True)
    store = SecretStore(home.secrets_file, home.age_key, notify=lambda _: None)
    ensure_ssh_key(store, "node")
    store.save()
    return Walled(home)

"""A home whose firewall is kept: the corrected fake with guests in it, a virtual clock, and a judge.

The judge reads what the fake stores, as pve-firewall does, and says who gets in; it knows nothing of how
Hearth makes it. While it keeps this machine out, no request arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from hearth.fleet.model import Fleet, Guest, Network, Node
from hearth.options import Options
from hearth.proxmox.api import Api
from hearth.proxmox.faults import UnreachableError
from hearth.role.declaration import Need, Port, Role
from hearth.secrets import Secret
from hearth.survey import Survey
from hearth.walls import Walls
from twin.pve import Pve, Server

HERE = "192.168.1.9"  # this machine, as the node sees it
NODE_ADDRESS = "192.168.1.185"
ROLES = {
    "base": Role(name="base", provides=(Port("ssh", 22, audience="management"),)),
    "bus": Role(
        name="bus",
        provides=(
            Port("secure", 8883, tls=True, audience="lan", door=True, devices=True),
            Port("plain", 1883, audience="lan", door=True, devices=True),
        ),
    ),
    "store": Role(name="store", provides=(Port("sql", 5432),)),
    "hub": Role(
        name="hub",
        provides=(Port("web", 3000, tls=True, behind=13000, audience="lan", door=True),),
        needs=(Need("store", "sql"),),
    ),
    "front": Role(name="front"),
    "front_door": Role(name="front_door", brings=("front",)),
}
GUESTS = {  # name -> last octet, roles
    "hall": (134, ("front_door", "front")),
    "comms": (135, ("bus", "hub", "front")),
    "database": (136, ("store",)),
    "spare": (138, ("bus",)),
}


def a_guest(name: str, last: int, roles: Iterable[str], **more: Any) -> Guest:
    """A container at 192.168.1.<last>."""
    known: dict[str, Any] = {
        "kind": "lxc",
        "node": "pve",
        "vmid": last,
        "network": "lan",
        "address": f"192.168.1.{last}",
        "address6": f"fd00::{last}",
        "mac": f"02:48:00:00:00:{last:02X}",
        "image": "debian",
    }
    return Guest(name=name, roles=("base", *roles), **(known | more))


def a_fleet(*guests: Guest) -> Fleet:
    """One node, one network."""
    node = Node(
        name="pve", address=NODE_ADDRESS, endpoint="https://x:8006", storage="local-lvm", images="local"
    )
    lan = Network(name="lan", bridge="vmbr0", subnet="192.168.1.0/24", subnet6="fd00::/64")
    return Fleet(nodes=(node,), networks=(lan,), firewall=True, guests=guests)


def all_guests() -> tuple[Guest, ...]:
    """The guests of GUESTS."""
    return tuple(a_guest(name, last, roles) for name, (last, roles) in GUESTS.items())


@dataclass
class FirewallHome:
    """One home; every run is a new one, as a new process would be."""

    pve: Pve
    server: Server
    env: dict[str, str]
    place: Path
    fleet: Fleet
    values: dict[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=lambda: dict(ROLES))
    here: str = HERE
    said: list[str] = field(default_factory=list)
    when_cut_off: Callable[[], None] = lambda: None
    before_request: Callable[[str, str, Mapping[str, Any]], None] = lambda method, path, params: None

    def run(self) -> Run:
        """A new run."""
        return Run(self)

    def deploy(self) -> list[str]:
        """A run's firewall step; gives the lines of its plan."""
        run = self.run()
        try:
            plan = run.walls.plan("pve")
            lines = list(plan.lines())
            if plan.does_something:
                run.walls.converge("pve", self.said.append)
        finally:
            run.survey.hang_up()
        return lines

    def settle(self) -> FirewallHome:
        """Deployed, confirmed and silent."""
        self.deploy()
        assert self.enable == 1
        assert self.deploy() == []
        return self

    # -------------------------------------------------------- what the fake has

    @property
    def stored(self) -> dict[str, Any]:
        """The cluster's configuration, as a reader sees it now."""
        return self.server.call(lambda: self.pve.firewall_config("cluster"))

    def of_guest(self, name: str) -> dict[str, Any]:
        """A guest's configuration."""
        vmid = self.fleet.guest(name).vmid
        return self.server.call(lambda: self.pve.firewall_config("ct", vmid=vmid))

    @property
    def enable(self) -> int:
        """As it reads now."""
        return int(self.stored["options"].get("enable") or 0)

    def content(self) -> Any:
        """All that is stored but `enable`, without what Proxmox works out and without empty remains."""

        def plain(conf: dict[str, Any]) -> Any:
            options = {k: v for k, v in conf["options"].items() if k != "enable" or conf is not cluster}
            # The order of ours says nothing: all of them accept. That of foreign ones is tested on its own.
            groups = {name: sorted(rules, key=str) for name, rules in conf["groups"].items()}
            rest = {"rules": sorted(conf["rules"], key=str), "groups": groups}
            rest |= {key: conf[key] for key in ("ipset", "aliases")}
            return {key: value for key, value in {"options": options, **rest}.items() if value}

        cluster = self.stored
        fw = self.server.call(self.pve._fw)
        rest = {**fw["nodes"], **fw["guests"]}
        return {"cluster": plain(cluster), **{name: made for name, c in rest.items() if (made := plain(c))}}

    # ------------------------------------------------------------------- judge

    def lets_in(self, source: str, port: int, guest: str | None = None) -> bool:
        """Whether the wall lets an address reach a port of a guest (None: of the node) now."""
        cluster = self.stored
        if not cluster["options"].get("enable"):
            return True
        if guest is None:
            rules = [
                *self.server.call(lambda: self.pve.firewall_config("host", "pve"))["rules"],
                *cluster["rules"],
            ]
            if _rules_say(rules, cluster, source, port):
                return True
            standard = port in (22, 8006, 3128) and _in_set(cluster, "management", source)
            policy = cluster["options"].get("policy_in", "DROP")
            return standard or policy == "ACCEPT"
        conf = self.of_guest(guest)
        if not conf["options"].get("enable"):
            return True
        return (
            _rules_say(conf["rules"], cluster, source, port) or conf["options"].get("policy_in") == "ACCEPT"
        )

    @property
    def cut_off(self) -> bool:
        """Whether this machine does not reach the API."""
        return not self.lets_in(self.here, 8006)

    def answering(self, targets: Iterable[Any]) -> frozenset[str]:
        """What `probe.answering` finds, said by the judge."""
        found = set()
        for target in targets:
            guest = target.name.removeprefix("SSH of ")
            port = 8006 if target.name.startswith("the API") else 22
            inside = guest if guest in {each.name for each in self.fleet.guests} else None
            if self.lets_in(self.here, port, inside):
                found.add(target.name)
        return frozenset(found)


def _rules_say(
    rules: Iterable[Mapping[str, Any]], cluster: Mapping[str, Any], source: str, port: int
) -> bool:
    for rule in rules:
        if not rule.get("enable"):
            continue
        if rule["type"] == "group":
            if _rules_say(cluster["groups"].get(rule["action"], ()), cluster, source, port):
                return True
        elif rule["type"] == "in" and rule.get("dport") == str(port) and _matches(rule, cluster, source):
            return bool(rule["action"] == "ACCEPT")
    return False


def _matches(rule: Mapping[str, Any], cluster: Mapping[str, Any], source: str) -> bool:
    named = str(rule.get("source") or "")
    return not named or _in_set(cluster, named.removeprefix("+dc/").removeprefix("+"), source)


def _in_set(cluster: Mapping[str, Any], name: str, source: str) -> bool:
    """ipset(8), hash:net: the smallest network that holds the address decides."""
    entries = list(cluster["ipset"].get(name, ()))
    local = cluster["aliases"].get("local_network", {}).get("cidr", "192.168.1.0/24")
    if name == "management":
        entries.append({"cidr": local})
    holding = [each for each in entries if ip_address(source) in ip_network(each["cidr"])]
    if not holding:
        return False
    return not max(holding, key=lambda each: ip_network(each["cidr"]).prefixlen).get("nomatch")


class Run:
    """What Walls takes from a run, with a clock that only goes when somebody sleeps."""

    def __init__(self, home: FirewallHome) -> None:
        self.home = home
        self.fleet, self.roles, self.values = home.fleet, home.roles, home.values
        self.state_dir = home.place
        self.walls = Walls(self)

    @cached_property
    def survey(self) -> VirtualSurvey:
        return VirtualSurvey(self.home)

    def address_of(self, guest: Guest) -> str:
        return str(guest.address)


class VirtualSurvey(Survey):
    """A survey whose API is cut off where the judge says so, and whose clock is the fake's."""

    def __init__(self, home: FirewallHome) -> None:
        def find(name: str) -> Secret | None:
            return None

        super().__init__(home.fleet, Options(), home.env, find, tuple)
        self._home = home
        self._prepared: list[Api] = []

    def api(self, node: str) -> Api:
        api = super().api(node)
        if api not in self._prepared:
            self._prepared.append(api)
            self._prepare(api)
        return api

    def hang_up(self) -> None:
        """Close the connections, as the end of a process does: hundreds of runs fit in one test then."""
        for api in self._prepared:
            api._proxmox._store["session"].close()

    def _prepare(self, api: Api) -> None:
        home, ask = self._home, api._ask

        def sleep(seconds: float) -> None:
            home.pve.clock_ahead += seconds

        def guarded(method: str, path: str, params: Mapping[str, Any]) -> Any:
            if home.cut_off:
                home.when_cut_off()
                error = UnreachableError(f"reach Proxmox for {method} {path}", "it does not answer")
                error.passing = False
                raise error
            home.before_request(method, path, params)
            return ask(method, path, params)

        api.clock, api.sleep, api._ask = home.pve.now, sleep, guarded  # type: ignore[method-assign]

"""The firewall in a running twin: written with plain proxmoxer calls, found at the doors of real guests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from proxmoxer import ProxmoxAPI

from tests.twin.handle import NODE, TwinHandle, until
from tests.twin.wall_kit import Door, Machine, check, of_guest, stranger, wipe
from twin.commands import run
from twin.control import ask
from twin.state import read_json

A, B, STRANGER = 241, 242, 77
FOUR, SIX = "192.168.1.{}", "fd48:6561:7274::{}"
ACCEPT = {"type": "in", "action": "ACCEPT", "enable": 1}
DROP = {**ACCEPT, "action": "DROP"}
ELSEWHERE = {"name": "local_network", "cidr": "10.0.0.0/8"}


@dataclass(frozen=True)
class Walls:
    """A twin with two guests and a stranger; the firewall as nobody has touched it."""

    twin: TwinHandle
    a: Machine
    b: Machine
    stranger: Machine

    def write(self, method: str, path: str, /, **params: Any) -> Any:
        """One proxmoxer call, over a new connection, with Hearth's token."""
        token = read_json(self.twin.twin.private / "tokens.json")["hearth"]
        user, _, secret = token.partition("=")
        name, _, token_name = user.partition("!")

        def call() -> Any:
            api = ProxmoxAPI(
                NODE,
                user=name,
                token_name=token_name,
                token_value=secret,
                verify_ssl=str(self.twin.twin.dir / "ca.pem"),
                timeout=3,
            )
            return getattr(api(path), method)(**params)

        return self.twin.call(call)

    def cluster(self, **options: Any) -> None:
        """Set options of the cluster."""
        self.write("put", "cluster/firewall/options", **options)

    def guest(self, vmid: int, *rules: dict[str, Any], **options: Any) -> None:
        """Turn a guest's firewall on, with these rules in this order."""
        self.write("put", f"nodes/pve/lxc/{vmid}/firewall/options", **{"enable": 1, **options})
        for rule in reversed(rules):  # a new one is the first
            self.write("post", f"nodes/pve/lxc/{vmid}/firewall/rules", **rule)

    def forward(self, seconds: float) -> None:
        """Move the node's clock."""
        ask(self.twin.twin, "POST", "/clock", {"forward": seconds})


@pytest.fixture(scope="module")
def twin(unwalled_twin: TwinHandle) -> TwinHandle:
    """A twin without the home, whose firewall is another one."""
    return unwalled_twin


@pytest.fixture(scope="module")
def guests(twin: TwinHandle) -> Iterator[None]:
    try:
        for vmid in (A, B):
            twin.said(twin.container(vmid, net0=card(vmid)), "true")
        yield
    finally:
        wipe(twin, A, B)
        for vmid in (A, B):
            twin.remove("lxc", vmid)


@pytest.fixture(scope="module")
def machines(twin: TwinHandle, guests: None) -> Iterator[tuple[Machine, Machine, Machine]]:
    with (
        closing(of_guest(twin.twin, A)) as a,
        closing(of_guest(twin.twin, B)) as b,
        stranger(twin.twin, STRANGER) as out,
    ):
        for machine, number in ((a, A), (b, B), (out, STRANGER)):
            machine.serve(*(("tcp", form.format(number), port) for form in (FOUR, SIX) for port in (80, 443)))
        yield a, b, out


@pytest.fixture
def walls(twin: TwinHandle, machines: tuple[Machine, Machine, Machine]) -> Iterator[Walls]:
    wipe(twin, A, B)
    yield Walls(twin, *machines)
    wipe(twin, A, B)
    ahead = ask(twin.twin, "POST", "/clock", {"forward": 0})["ahead"]
    ask(twin.twin, "POST", "/clock", {"forward": -ahead})


def card(vmid: int, firewall: int = 1) -> str:
    """A network card of a guest."""
    mac = f"02:48:00:00:00:{vmid:02X}"
    addresses = f"ip={FOUR.format(vmid)}/24,gw=192.168.1.1,ip6={SIX.format(vmid)}/64"
    return f"name=eth0,bridge=vmbr0,hwaddr={mac},{addresses},firewall={firewall}"


def doors(number: int, form: str) -> list[Door]:
    return [("tcp", form.format(number), port) for port in (22, 80, 443)]


def finds(machine: Machine, number: int, *ports: int, forms: tuple[str, ...] = (FOUR, SIX)) -> None:
    """Assert which ports of a guest a machine finds open, over both versions or one."""
    for form in (FOUR, SIX):
        reached = ports if form in forms else ()
        check(machine, [(d, "open" if d[2] in reached else "closed") for d in doors(number, form)])


# --------------------------------------------------------------------------- guests


def test_nothing_is_guarded_until_the_cluster_says_so(walls: Walls) -> None:
    walls.guest(A, DROP)
    finds(walls.stranger, A, 22, 80, 443)
    walls.cluster(enable=1)
    finds(walls.stranger, A)
    walls.cluster(enable=0)
    finds(walls.stranger, A, 22, 80, 443)


def test_a_guest_lets_in_what_its_rules_say_and_sends_what_it_likes(walls: Walls) -> None:
    walls.cluster(enable=1)
    walls.guest(
        A,
        {**ACCEPT, "proto": "tcp", "dport": "80", "source": FOUR.format(B)},
        {**ACCEPT, "proto": "tcp", "dport": "443", "source": SIX.format(STRANGER)},
        {**ACCEPT, "macro": "SSH", "source": FOUR.format(STRANGER)},
    )
    finds(walls.b, A, 80, forms=(FOUR,))
    check(
        walls.stranger, [(("tcp", FOUR.format(A), port), it) for port, it in ((22, "open"), (80, "closed"))]
    )
    check(
        walls.stranger, [(("tcp", SIX.format(A), port), it) for port, it in ((443, "open"), (22, "closed"))]
    )
    check(walls.a, [(("tcp", form.format(STRANGER), 80), "open") for form in (FOUR, SIX)])
    finds(walls.stranger, B, 22, 80, 443)  # its firewall is not enabled


def test_groups_and_sets_are_followed_as_they_change(walls: Walls) -> None:
    walls.cluster(enable=1)
    walls.write("post", "cluster/firewall/ipset", name="friends")
    walls.write("post", "cluster/firewall/ipset/friends", cidr=FOUR.format(STRANGER))
    walls.write("post", "cluster/firewall/groups", group="web")
    web = {**ACCEPT, "proto": "tcp", "dport": "80", "source": "+dc/friends"}
    walls.write("post", "cluster/firewall/groups/web", **web)
    walls.guest(A, {**ACCEPT, "type": "group", "action": "web"})
    finds(walls.stranger, A, 80, forms=(FOUR,))
    finds(walls.b, A)
    walls.write("post", "cluster/firewall/ipset/friends", cidr="fd48:6561:7274::/64")
    finds(walls.stranger, A, 80)
    finds(walls.b, A, 80, forms=(SIX,))
    walls.write("put", "cluster/firewall/groups/web/0", enable=0)
    finds(walls.stranger, A)


def test_the_interfaces_flag_decides_while_the_guest_runs(walls: Walls) -> None:
    walls.cluster(enable=1)
    walls.guest(A)
    finds(walls.stranger, A)
    assert f"fwbr{A}i0" in links(walls.twin)
    walls.write("put", f"nodes/pve/lxc/{A}/config", net0=card(A, firewall=0))
    until(lambda: f"fwbr{A}i0" not in links(walls.twin) or None)
    finds(walls.stranger, A, 22, 80, 443)
    walls.write("put", f"nodes/pve/lxc/{A}/config", net0=card(A))
    until(lambda: f"fwbr{A}i0" in links(walls.twin) or None)
    until(lambda: walls.stranger.knock([("tcp", FOUR.format(A), 80)]) == ["closed"] or None)
    finds(walls.stranger, A)


def test_a_disabled_guest_is_open(walls: Walls) -> None:
    walls.cluster(enable=1)
    walls.guest(A, enable=0)
    finds(walls.stranger, A, 22, 80, 443)
    walls.guest(A, enable=1)
    finds(walls.stranger, A)


# --------------------------------------------------------------------------- dead man


def test_enable_two_is_on_at_once_and_off_after_a_minute(walls: Walls) -> None:
    walls.guest(A)
    walls.cluster(enable=2)
    finds(walls.stranger, A)
    walls.forward(50)
    finds(walls.stranger, A)
    walls.cluster(enable=2)
    walls.forward(50)
    finds(walls.stranger, A)
    walls.forward(12)
    finds(walls.stranger, A, 22, 80, 443)
    assert walls.write("get", "cluster/firewall/options")["enable"] == 0
    walls.cluster(enable=1)
    walls.forward(1000)
    finds(walls.stranger, A)


def test_rules_that_cut_the_node_off_do_and_it_comes_back(walls: Walls) -> None:
    walls.write("post", "cluster/firewall/aliases", **ELSEWHERE)
    check(walls.stranger, [(door, "open") for door in node_doors()])
    walls.cluster(enable=2)
    check(walls.stranger, [(door, "closed") for door in node_doors()])
    with pytest.raises(OSError):  # a timeout of the connection
        walls.write("get", "version")
    walls.forward(61)
    check(walls.stranger, [(door, "open") for door in node_doors()])
    assert walls.write("get", "cluster/firewall/aliases")[0]["name"] == "local_network", "the rules are kept"


def test_management_lets_in_who_it_names(walls: Walls) -> None:
    walls.write("post", "cluster/firewall/aliases", **ELSEWHERE)
    walls.write("post", "cluster/firewall/ipset", name="management")
    walls.write("post", "cluster/firewall/ipset/management", cidr=FOUR.format(STRANGER))
    walls.cluster(enable=2)
    check(walls.stranger, [(door, "open") for door in node_doors()])
    check(walls.b, [(door, "closed") for door in node_doors()])


@pytest.mark.slow
def test_the_minute_is_a_real_one(walls: Walls) -> None:
    walls.guest(A)
    walls.write("post", "cluster/firewall/aliases", **ELSEWHERE)
    began = time.monotonic()
    walls.cluster(enable=2)
    finds(walls.stranger, A)
    check(walls.stranger, [(door, "closed") for door in node_doors()])
    time.sleep(max(0, 55 - (time.monotonic() - began)))
    check(walls.stranger, [(door, "closed") for door in node_doors()])
    until(lambda: walls.stranger.knock(node_doors()) == ["open", "open"] or None, patience=20)
    assert time.monotonic() - began > 60
    finds(walls.stranger, A, 22, 80, 443)


# -------------------------------------------------------------------- what stays, what goes


def test_a_guest_that_restarts_is_guarded_and_one_that_stops_leaves_no_link(walls: Walls, guest: Any) -> None:
    guest(243, net0=card(243))
    walls.cluster(enable=1)
    walls.guest(243, {**ACCEPT, "macro": "SSH"})
    for path in ("stop", "start"):
        walls.twin.task("POST", f"/nodes/pve/lxc/243/status/{path}")
        assert any("243" in link for link in links(walls.twin)) is (path == "start")
    check(walls.stranger, [(("tcp", FOUR.format(243), 22), "open")])
    with closing(of_guest(walls.twin.twin, 243)) as machine:
        machine.serve(("tcp", FOUR.format(243), 80))
        check(walls.stranger, [(("tcp", FOUR.format(243), 80), "closed")])
    walls.twin.remove("lxc", 243)
    assert not [link for link in links(walls.twin) if "243" in link]
    until(lambda: "veth243i0" not in ruleset(walls.twin) or None, patience=10)


@pytest.mark.slow
def test_the_wall_stands_while_the_api_process_is_dead_and_after(walls: Walls) -> None:
    walls.cluster(enable=1)
    walls.guest(A, {**ACCEPT, "proto": "tcp", "dport": "80"})
    before = ruleset(walls.twin)
    os.kill(read_json(walls.twin.twin.private / "processes.json")["api"]["pid"], signal.SIGKILL)
    until(lambda: walls.twin.command("status").returncode == 1 or None)
    finds(walls.stranger, A, 80)
    done = walls.twin.command("up")
    assert done.returncode == 0, done.stderr
    finds(walls.stranger, A, 80)
    assert ruleset(walls.twin) == before


def test_status_says_whom_it_guards(walls: Walls) -> None:
    assert "firewall: off" in walls.twin.command("status").stdout
    walls.cluster(enable=1)
    walls.guest(A)
    said = walls.twin.command("status")
    assert said.returncode == 0
    assert "ok    the firewall holds" in said.stdout
    assert f"guards the node and {A} " in said.stdout


def node_doors() -> list[Door]:
    return [("tcp", NODE, 22), ("tcp", NODE, 8006)]


def links(twin: TwinHandle) -> list[str]:
    """The links of the twin's network."""
    shown = run("ip", "-n", twin.twin.netns, "-o", "link")
    return [line.split(":")[1].strip().partition("@")[0] for line in shown.splitlines()]


def ruleset(twin: TwinHandle) -> str:
    """The wall's tables as the kernel has them."""
    tables = (("bridge", "pve-firewall"), ("ip", "pve-firewall"), ("ip6", "pve-firewall"))
    enter = ("nsenter", f"--net={twin.twin.netns_file}", "--")
    return "".join(run(*enter, "nft", "list", "table", *table) for table in tables)

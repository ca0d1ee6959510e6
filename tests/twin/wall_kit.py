"""Machines that knock on each other's doors: a process in a network namespace that listens and connects."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from tests.twin.handle import TwinHandle
from twin import namespace
from twin.commands import run, works
from twin.state import Twin

#: Seconds without an answer until a door counts as closed, and how long an open one may take to show.
SILENCE, PATIENCE = 0.5, 15.0
#: ("tcp" or "udp" or "ping", address, port)
Door = tuple[str, str, int]

_AGENT = r"""
import json, os, socket, struct, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET

def bound(kind, address, port):
    s = socket.socket(family(address), kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # An address may come later than its door: IP_FREEBIND, IPV6_FREEBIND (ip(7), ipv6(7)).
    if ":" in address:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.IPPROTO_IPV6, 78, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, 15, 1)
    s.bind((address, port))
    return s

def serve(proto, address, port):
    s = bound(socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM, address, port)
    def tcp():
        s.listen()
        while True:
            c, _ = s.accept()
            c.close()
    def udp():
        while True:
            data, peer = s.recvfrom(99)
            s.sendto(data, peer)
    threading.Thread(target=tcp if proto == "tcp" else udp, daemon=True).start()

def ping(address, silence):
    six = ":" in address
    kinds = (128, 129) if six else (8, 0)
    packet = struct.pack("!BBHHH", kinds[0], 0, 0, os.getpid() & 0xFFFF, 1)
    total = sum(struct.unpack("!4H", packet))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    packet = packet[:2] + struct.pack("!H", total) + packet[4:]
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    with socket.socket(family(address), socket.SOCK_RAW, protocol) as s:
        s.sendto(packet, (address, 0))
        end = time.monotonic() + silence
        while (left := end - time.monotonic()) > 0:
            s.settimeout(left)
            data, peer = s.recvfrom(200)
            answer = data if six else data[20:]
            if peer[0] == address and answer[0] == kinds[1] and answer[4:8] == packet[4:8]:
                return "open"
    return "closed"

def knock(proto, address, port, silence):
    if proto == "ping":
        try:
            return ping(address, silence)
        except OSError:
            return "closed"
    s = socket.socket(family(address), socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(silence)
    try:
        s.connect((address, port))
        if proto == "udp":
            s.send(b"hello")
            s.recv(99)
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "closed"
    finally:
        s.close()

with ThreadPoolExecutor(64) as pool:
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["do"] == "serve":
            for door in ask["doors"]:
                serve(*door)
            said = True
        else:
            said = list(pool.map(lambda door: knock(*door, ask["silence"]), ask["doors"]))
        print(json.dumps(said), flush=True)
"""


class Machine:
    """A machine by its network namespace.

    Args:
        name: what it is called.
        namespace: the namespace's file, such as /run/netns/x or /proc/1/ns/net.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self._agent = subprocess.Popen(
            ["nsenter", f"--net={namespace}", "--", sys.executable, "-c", _AGENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def serve(self, *doors: Door) -> None:
        """Answer at these doors."""
        self._ask({"do": "serve", "doors": doors})

    def knock(self, doors: Sequence[Door], silence: float = SILENCE) -> list[str]:
        """What each door says: open, refused (it answers no), closed (it says nothing)."""
        found: list[str] = self._ask({"do": "knock", "doors": doors, "silence": silence})
        return found

    def run(self, *argv: str) -> str:
        """Run a program in its network."""
        return run("nsenter", f"--net={self.namespace}", "--", *argv)

    def close(self) -> None:
        """End it."""
        self._agent.kill()
        self._agent.wait()

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps(what) + "\n")
        self._agent.stdin.flush()
        return json.loads(self._agent.stdout.readline())


def check(machine: Machine, expected: Iterable[tuple[Door, str]]) -> None:
    """Assert what a machine finds at doors.

    What answers may be slow to on a busy machine, so it is asked again. What is shut is asked once and has to
    be silent.
    """
    wanted = dict(expected)
    found = dict(zip(wanted, machine.knock(list(wanted)), strict=True))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        slow = [door for door, said in found.items() if said == "closed" != wanted[door]]
        if not slow:
            break
        found.update(zip(slow, machine.knock(slow, silence=2), strict=True))
    assert found == wanted, f"from {machine.name}"


@contextmanager
def stranger(twin: Twin, number: int, bridge: str = "vmbr0") -> Iterator[Machine]:
    """A machine of the home's network that is no guest: 192.168.1.NUMBER and fd48:6561:7274::NUMBER.

    Args:
        twin: a twin that is up.
        number: the last part of its addresses.
        bridge: where it hangs.
    """
    name, end = f"{twin.netns}-{number}", f"out{number}"
    run("ip", "netns", "add", name)
    try:
        run(
            *("ip", "-n", twin.netns, "link", "add", end, "type", "veth"),
            *("peer", "name", "eth0", "netns", name),
        )
        run("ip", "-n", twin.netns, "link", "set", end, "master", bridge, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "addr", "add", f"192.168.1.{number}/24", "dev", "eth0")
        run("ip", "-n", name, "addr", "add", f"fd48:6561:7274::{number}/64", "dev", "eth0", "nodad")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        with closing(Machine(str(number), f"/run/netns/{name}")) as machine:
            yield machine
    finally:
        works("ip", "netns", "del", name)


def of_guest(twin: Twin, vmid: int) -> Machine:
    """A running guest's own network: what listens and connects there is the guest."""
    found = run(*namespace.enter(twin, "lxc-info", "-P", str(twin.guests), "-n", str(vmid), "-pH"))
    return Machine(str(vmid), f"/proc/{found.strip()}/ns/net")


def wipe(twin: TwinHandle, *vmids: int) -> None:
    """Bring the firewall of cluster, node and these containers back to what a new one has."""
    top = "/cluster/firewall"
    files = (top, "/nodes/pve/firewall", *(f"/nodes/pve/lxc/{vmid}/firewall" for vmid in vmids))
    for base in files:
        options = twin.as_root("GET", f"{base}/options")
        if named := ",".join(sorted(options.keys() - {"digest"})):
            twin.as_root("PUT", f"{base}/options", delete=named)
        for _ in twin.as_root("GET", f"{base}/rules"):
            twin.as_root("DELETE", f"{base}/rules/0")
    for group in twin.as_root("GET", f"{top}/groups"):
        for _ in twin.as_root("GET", f"{top}/groups/{group['group']}"):
            twin.as_root("DELETE", f"{top}/groups/{group['group']}/0")
        twin.as_root("DELETE", f"{top}/groups/{group['group']}")
    for base in (top, *files[2:]):
        for row in twin.as_root("GET", f"{base}/ipset"):
            for entry in twin.as_root("GET", f"{base}/ipset/{row['name']}"):
                twin.as_root("DELETE", f"{base}/ipset/{row['name']}/{entry['cidr']}")
            twin.as_root("DELETE", f"{base}/ipset/{row['name']}")
        for row in twin.as_root("GET", f"{base}/aliases"):
            twin.as_root("DELETE", f"{base}/aliases/{row['name']}")

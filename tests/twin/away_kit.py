"""A phone that is not at home: a tailscaled in a network of its own, beyond the twin's router.

Of the home it reaches what the router passes on, which is the coordination server: everything else has to
come through the tailnet. It is one process of the twin, whose network ends with it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.twin.handle import until
from twin import go_programs, namespace, processes
from twin.state import Twin

ROLE = "away"
LINK = "away0"  # the router's end
TABLE = "hearth-away"
OUTSIDE, PHONE = "203.0.113.1", "203.0.113.2"  # RFC 5737: addresses of no network
INSIDE = "vmbr0"

_LIFE = f"""set -eu
ip link set lo up
mount --bind "$1/hosts" /etc/hosts
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add {PHONE}/30 dev eth0
ip link set eth0 up
ip route add default via {OUTSIDE}
exec "$2" --state="$1/state" --statedir="$1" --socket="$1/socket" --port=41641
"""

_ROUTER = """table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain forward {{
    type filter hook forward priority 0
    iifname "{link}" ip daddr {server} tcp dport 443 accept
    iifname "{link}" ip daddr {server} udp dport 3478 accept
    oifname "{link}" ct state established accept
    iifname "{link}" drop
    oifname "{link}" drop
  }}
  chain input {{
    type filter hook input priority 0
    iifname "{link}" drop
  }}
}}
"""


@dataclass(frozen=True)
class Phone:
    """The phone.

    Args:
        twin: the twin.
        place: its folder.
        process: its tailscaled.
    """

    twin: Twin
    place: Path
    process: int

    def run(self, *argv: str, stdin: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program on the phone."""
        enter = ["nsenter", f"--net=/proc/{self.process}/ns/net", "--"]
        return subprocess.run(
            [*enter, *argv], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def tailscale(self, *words: str, stdin: str = "") -> str:
        """What its `tailscale` says; it has to end with 0."""
        program = str(go_programs.ensure("tailscale"))
        done = self.run(program, f"--socket={self.place}/socket", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        """`tailscale status`, read."""
        return dict(json.loads(self.tailscale("status", "--json")))

    def join(self, server: str, key: str) -> None:
        """Join, and take the routes that the tailnet offers, as a phone's app does."""
        words = (f"--login-server={server}", "--accept-routes", "--accept-dns=false", "--hostname=phone")
        self.tailscale("up", *words, "--auth-key=file:/dev/stdin", "--timeout=40s", stdin=key)

    def reaches(self, address: str, port: int, within: float = 3) -> str | None:
        """What a TCP port says to one line; None where nobody answers."""
        script = (
            "import socket, sys\n"
            "with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as line:\n"
            "    line.sendall(b'hello\\n')\n"
            "    print(line.recv(200).decode(), end='')"
        )
        done = self.run("python3", "-c", script, address, str(port), str(within))
        return done.stdout if done.returncode == 0 else None


@contextmanager
def away(twin: Twin, place: Path, authority: str, server: tuple[str, str]) -> Iterator[Phone]:
    """A phone outside, for as long as the context lasts; it has not joined.

    Args:
        twin: a twin that is up.
        place: a folder for its files.
        authority: PEM of the authority that it trusts.
        server: the coordination server's name and address.
    """
    name, address = server
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    (place / "ca.pem").write_text(authority)
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SSL_CERT_FILE": str(place / "ca.pem"),
        "TS_NO_LOGS_NO_SUPPORT": "true",
        "TS_DEBUG_FIREWALL_MODE": "nftables",
    }
    daemon = str(go_programs.ensure("tailscaled"))
    argv = ["unshare", "--net", "--mount", "--", "sh", "-c", _LIFE, "sh", str(place), daemon]
    process = processes.start(twin, ROLE, argv, env)
    try:
        until(lambda: _own_network(process))
        _plug(twin, process, address)
        until(lambda: (place / "socket").exists() or processes.must_live(twin, ROLE))
        yield Phone(twin, place, process)
    finally:
        processes.stop(twin, ROLE)
        namespace.inside(twin, "nft", "delete", "table", "inet", TABLE)
        namespace.inside(twin, "sysctl", "-qw", f"net.ipv4.conf.{INSIDE}.forwarding=0")


def _own_network(process: int) -> bool | None:
    there = Path(f"/proc/{process}/ns/net")
    return True if there.exists() and there.readlink() != Path("/proc/self/ns/net").readlink() else None


def _plug(twin: Twin, process: int, server: str) -> None:
    """The phone's way to the router, and what the router passes on."""
    rules = _ROUTER.format(table=TABLE, link=LINK, server=server)
    namespace.inside(twin, "nft", "-f", "-", stdin=rules)
    link = ("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    namespace.inside(twin, *link)
    namespace.inside(twin, "ip", "addr", "add", f"{OUTSIDE}/30", "dev", LINK)
    namespace.inside(twin, "ip", "link", "set", LINK, "up")
    for name in (LINK, INSIDE):
        namespace.inside(twin, "sysctl", "-qw", f"net.ipv4.conf.{name}.forwarding=1")

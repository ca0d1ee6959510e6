"""Nothing in the twin reaches the machine's network but through the forward proxy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from tests.twin.handle import NODE, TwinHandle

OUTSIDE = "192.0.2.1"  # RFC 5737: an address that nobody has


def test_there_is_no_default_route_and_no_forwarding(twin: TwinHandle) -> None:
    for family in ("-4", "-6"):
        routes = json.loads(twin.exec("ip", family, "-j", "route").stdout or "[]")
        assert not [route for route in routes if route["dst"] == "default"]
        assert all(
            route.get("dst", "").startswith(("192.168.", "169.254.", "fd", "fe80")) for route in routes
        )
    assert twin.exec("cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"
    assert twin.exec("cat", "/proc/sys/net/ipv6/conf/all/forwarding").stdout.strip() == "0"


def test_a_command_in_the_twin_reaches_nothing_outside(twin: TwinHandle) -> None:
    done = twin.exec("bash", "-c", f"exec 3<>/dev/tcp/{OUTSIDE}/80")
    assert done.returncode != 0
    assert "unreachable" in done.stderr


def test_the_link_to_the_machine_carries_the_proxy_alone(twin: TwinHandle) -> None:
    state = twin.twin.load()
    host = f"169.254.77.{4 * state['link'] + 1}"
    listener = subprocess.Popen(
        [
            "python3",
            "-c",
            f"import socket; s=socket.create_server(('{host}', 18888)); print(1, flush=True); s.accept()",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        listener.stdout.readline()
        closed = twin.exec("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{host}/18888")
        proxy = twin.exec("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{host}/8888")
    finally:
        listener.kill()
        listener.wait()
    assert closed.returncode != 0
    assert proxy.returncode == 0


def test_a_guest_gets_packages_through_the_proxy_and_nothing_without_it(
    twin: TwinHandle, guest: Callable[..., str]
) -> None:
    address = guest(240)
    assert twin.ssh(address, "apt-get update -q").returncode == 0
    without = "apt-get update -q -o Acquire::http::Proxy=DIRECT -o APT::Update::Error-Mode=any"
    assert twin.ssh(address, without).returncode != 0
    direct = twin.ssh(address, f"timeout 3 bash -c 'exec 3<>/dev/tcp/{OUTSIDE}/80'")
    assert direct.returncode != 0


def test_the_proxy_does_not_ask_the_machines_network_for_the_homes_addresses(twin: TwinHandle) -> None:
    asked = f"http_proxy=http://192.168.1.1:8888 wget -q -T 5 -t 1 -O - http://{NODE}/ 2>&1"
    done = twin.exec("sh", "-c", asked)
    assert done.returncode != 0
    rules = subprocess.run(
        ["nft", "list", "table", "inet", f"hearth-twin-{twin.twin.name}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "192.168.1.0/24 reject" in rules
    # The same from the proxy's own account, on the machine: refused before a packet leaves.
    probe = subprocess.run(
        ["setpriv", "--reuid=tinyproxy", "--clear-groups", "bash", "-c", f"exec 3<>/dev/tcp/{NODE}/8006"],
        capture_output=True,
        text=True,
        timeout=5,
        check=False,
    )
    assert "refused" in probe.stderr

"""Which guests of the fleet this very run passes through.

Restarting one of them cuts the run's own line, so that is said, and done last; replacing or destroying one is
refused.
A run passes through a guest when it runs on it, when the way to another fleet address leads through it, or
when the admin's SSH session comes in through it (the subnet router hides them behind its own address).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from hearth.fleet.model import Fleet, Guest


def guests_on_path(fleet: Fleet, addresses: Collection[str]) -> frozenset[str]:
    """The names of the guests that own one of these addresses (pure)."""
    wanted = set(addresses)
    return frozenset(guest.name for guest in fleet.guests if wanted & set(_addresses(guest)))


def addresses_on_path(fleet: Fleet) -> frozenset[str]:
    """This machine's own addresses, the gateways towards nodes and guests, and the SSH client's address."""
    targets = [str(node.address) for node in fleet.nodes]
    targets += [address for guest in fleet.guests for address in _addresses(guest)]
    client = os.environ.get("SSH_CONNECTION", "").split()[:1]
    return frozenset((*_own_addresses(), *_gateways(targets), *client))


def addresses_towards(fleet: Fleet) -> tuple[IPv4Address | IPv6Address, ...]:
    """This machine's own addresses, as nodes and guests see them where nothing translates in between, sorted.

    A UDP socket that is connected has been given its source address by the kernel; nothing is sent.
    """
    targets = [str(node.address) for node in fleet.nodes]
    targets += [address for guest in fleet.guests for address in _addresses(guest)]
    found = {address for target in targets if (address := _source_towards(target))}
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def _source_towards(target: str) -> IPv4Address | IPv6Address | None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
        except OSError:
            return None  # no way there: then it is not from this address either
        return ip_address(probe.getsockname()[0])


def _addresses(guest: Guest) -> Iterable[str]:
    fixed = (guest.address, guest.address6)
    return (str(address) for address in fixed if address not in (None, "dhcp", "auto"))


def _ip(*arguments: str) -> list[dict[str, object]]:
    tool = shutil.which("ip") or "/usr/sbin/ip"
    try:
        done = subprocess.run(
            [tool, "-json", *arguments], capture_output=True, text=True, timeout=5, check=False
        )
        answer = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []  # no iproute2 here (macOS): then the SSH client's address alone tells
    return answer if isinstance(answer, list) else []


def _own_addresses() -> Iterable[str]:
    for link in _ip("address"):
        infos = link.get("addr_info")
        for info in infos if isinstance(infos, list) else ():
            yield str(info.get("local"))


def _gateways(targets: Iterable[str]) -> Iterable[str]:
    for target in targets:
        for route in _ip("route", "get", target):
            if "gateway" in route:
                yield str(route["gateway"])

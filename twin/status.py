"""`twin status`: what runs, and plainly what is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hearth.errors import HearthError
from hearth.values import VARIABLE, overrides
from twin import (
    cgroups,
    control,
    namespace,
    processes,
    proxy,
    standins,
    up,
)
from twin.devices import start as devices
from twin.home import PROJECT, Home
from twin.registry import start as registry
from twin.state import Twin

STAND_INS = """Stand-ins, so that nothing here is taken for the real thing:
  a VM is a container of the machine's own kernel: no BIOS, no block devices for further disks;
  its guest agent is the API's: it answers where the agent is configured and installed;
  images are not the real files: each is the twin's Debian 12 base, nothing is downloaded or verified;
  Home Assistant OS and the official image run nowhere here: Home Assistant is installed from PyPI (core);
  Python 3.14, which Home Assistant needs, is in every guest already: uv cannot fetch one here;
  the Zigbee adapter and its two devices, the house of MQTT entities and the phone are simulated: no radio,
  and a lamp's transitions are over at once; no push cloud: the phone is reached over its WebSocket alone;
  Vaultwarden's image is a stand-in from the twin's own registry: a small program at its places, no vault;
  ntfy is a stand-in too: the part of its API that the home uses, with its users and rights, in Python;
  the firewall is nftables from what the API stores, as pve-firewall reads it: logs, SYN flood protection,
  conntrack helpers, IPS queues and rules for forwarded traffic or VNets are stored, not enforced;
  the node has no systemd; where it asks for the tailnet, its tailscaled is there already, in user space;
  no vendor clouds, no mail; no DHCP and no DNS server on the networks;
  the fleet's gateways are the node itself: nothing is routed, the forward proxy is the only way out;
  free and /proc/meminfo in a guest show the machine's memory (the limit holds all the same).
Tested on Debian 12 with cgroup v1 and no systemd as process 1.
Written for Debian 13, cgroup v2 and systemd, but untested there."""


def report(twin: Twin, say: Callable[[str], None]) -> bool:
    """Say how the twin is; whether all is well."""
    if not twin.exists():
        say(f"twin {twin.name}: down")
        return False
    state = twin.load()
    home = Home(**state["home"])
    checks = {
        f"network namespace {twin.netns}": twin.netns_file.exists() and namespace.pinned(twin),
        **{role: processes.alive(twin, role) is not None for role in up.roles(home)},
    }
    if any(segment.proxy for segment in home.segments):
        checks[proxy.INNER] = processes.alive(twin, proxy.INNER) is not None
    guests, wall = _health(twin)
    checks["the API answers"] = wall is not None
    checks["the firewall holds"] = wall is not None and not wall["problem"]
    for what, well in checks.items():
        say(f"{'ok  ' if well else 'LOST'}  {what}")
    for node in home.nodes:
        say(f"node {node.name}: https://{node.address}:8006, ssh {node.address}:{node.ssh_port}")
    if devices.addresses(home):
        say(f"Zigbee adapter (zstack, simulated): {devices.adapter(home)}")
    if at := registry.address(home):
        say(f"registry of images: http://{at.ip}:{registry.PORT}")
    for guest in guests:
        say(f"{guest['kind']} {guest['vmid']} {guest['name']}: {guest['status']}")
    if wall is not None:
        say(_wall(wall))
    version = "v2" if cgroups.unified() else "v1"
    disks = "image files: sizes are limits" if state.get("images") else "folders: sizes are recorded only"
    say(f"fleet {home.fleet}; cgroup {version}; disks are {disks}")
    say(STAND_INS)
    for name, value in overrides({VARIABLE: str(standins.written(twin, home))}, PROJECT).items():
        say(f"  {name}: {value!r} instead of what group_data says")
    return all(checks.values())


def _health(twin: Twin) -> tuple[list[dict[str, str]], dict[str, Any] | None]:
    """The guests, and how the wall is; None where the API does not answer."""
    try:
        health = control.ask(twin, "GET", "/health")
    except HearthError:
        return [], None
    return health["guests"], health["wall"]


def _wall(wall: dict[str, Any]) -> str:
    if wall["problem"]:
        return f"firewall: nft refused it, the rules before it hold: {wall['problem']}"
    if not wall["on"]:
        return "firewall: off in the cluster's options: everything is open"
    guests = ", ".join(str(vmid) for vmid in wall["guests"]) or "no guest"
    return (
        f"firewall: on; guards the node and {guests} (others: no firewall=1 on an interface, or not enabled)"
    )

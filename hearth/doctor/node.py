"""Judges a node: version, state, clock, bridges, and who has our VMIDs. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hearth.doctor.finding import Finding, fail, ok, warn
from hearth.fleet.model import Guest, Network, Node
from hearth.proxmox.desired import TAG
from hearth.proxmox.observe import NodeView

OLDEST, NEWEST = (8, 4), 9
SKEW_WARN = 60.0  # seconds
SKEW_FAIL = 1800.0  # a certificate made here is not valid there: pki backdates by an hour


def judge_version(node: Node, version: str) -> Finding:
    """Proxmox VE is 8.4 or a 9.x: "8.4.21"."""
    found = re.match(r"(\d+)\.(\d+)", version)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if number < OLDEST:
        remedy = "upgrade the node: https://pve.proxmox.com/wiki/Category:Upgrade"
        return fail("version", f"{node.name} runs Proxmox VE {version}; Hearth needs 8.4 or newer", remedy)
    if number[0] > NEWEST:
        remedy = "rehearse with --dry, and look for a newer Hearth"
        return warn(
            "version", f"{node.name} runs Proxmox VE {version}; Hearth was tried on 8.4 and 9", remedy
        )
    return ok("version", f"{node.name} runs Proxmox VE {version}")


def judge_online(node: Node, rows: Collection[Mapping[str, Any]]) -> Finding:
    """The node is in GET /nodes, and online."""
    row = next((row for row in rows if row.get("node") == node.name), None)
    if row is None:
        names = ", ".join(sorted(str(row.get("node")) for row in rows))
        remedy = f"in the fleet file, call it as Proxmox does: {names}"
        return fail("node", f"Proxmox knows no node {node.name}", remedy)
    if row.get("status") != "online":
        remedy = (
            f"power it on, or on another node: pvecm status; on {node.name}: systemctl status pve-cluster"
        )
        return fail("node", f"{node.name} is {row.get('status') or 'unknown'}", remedy)
    return ok("node", f"{node.name} is online")


def judge_clock(node: Node, theirs: float, ours: float) -> Finding:
    """The node's clock and ours agree. Both are Unix times, in seconds."""
    skew = theirs - ours
    if abs(skew) < SKEW_WARN:
        return ok("clock", f"the clocks of {node.name} and of this machine agree")
    text = (
        f"the clock of {node.name} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    )
    remedy = "see which is wrong with timedatectl on both; on the node: systemctl restart chrony"
    return (fail if abs(skew) >= SKEW_FAIL else warn)("clock", text, remedy)


def judge_bridges(
    node: Node, rows: Collection[Mapping[str, Any]], networks: Iterable[Network]
) -> list[Finding]:
    """Every network's bridge is there and up: GET /nodes/N/network.

    Proxmox leaves out bridges that the token may not use (SDN.Use on /sdn/zones/localnetwork/BRIDGE).
    """
    by_name = {str(row.get("iface")): row for row in rows}
    findings = []
    for network in networks:
        row, where = by_name.get(network.bridge), f"bridge {network.bridge} of {node.name}"
        if row is None:
            remedy = (
                f"make it in the node's web interface (System, Network), or name the right bridge for "
                f"network {network.name} in the fleet file; where it exists, the token lacks SDN.Use on it"
            )
            findings.append(fail("bridge", f"there is no {where} that the token can see", remedy))
        elif row.get("type") not in ("bridge", "OVSBridge", "vnet"):
            remedy = f"name the right bridge for network {network.name} in the fleet file"
            findings.append(fail("bridge", f"{where} is no bridge but: {row.get('type')}", remedy))
        elif not int(row.get("active") or 0):
            findings.append(fail("bridge", f"{where} is down", f"on the node: ifup {network.bridge}"))
        else:
            findings.append(ok("bridge", f"{where} is up"))
    return findings


def judge_guests(view: NodeView, guests: Iterable[Guest]) -> list[Finding]:
    """No VMID of the fleet belongs to somebody else."""
    findings = []
    for guest in guests:
        seen = view.find(guest.vmid)
        if seen is None:
            continue
        what = f"{seen.kind} {seen.name or 'without a name'}"
        if seen.kind != guest.kind or seen.name != guest.name:
            remedy = f"give {guest.name} another vmid in the fleet file, or rename or move the other guest"
            text = f"VMID {guest.vmid} of {guest.name} is taken on {view.node}: {what}"
            findings.append(fail("guest", text, remedy))
        elif TAG not in seen.tags:
            remedy = f"if it is the one: pyinfra inventory deploy.py --data adopt={guest.name}"
            text = f"{guest.name} ({seen.vmid} on {view.node}) is not Hearth's yet: it has no tag {TAG}"
            findings.append(warn("guest", text, remedy))
    return findings or [ok("guest", f"no VMID of the fleet is taken by a stranger on {view.node}")]


def judge_place(guests: Iterable[str]) -> Finding:
    """Whether this machine reaches the fleet through a guest of it: allowed, and only said."""
    names = ", ".join(sorted(guests))
    if names:
        return ok(
            "place", f"the run goes through {names}: a restart of it is done last, a replacement refused"
        )
    return ok("place", "the run goes through no guest of the fleet")

"""The ruleset: what the API stores, as nftables for the twin's network. Pure.

As on a real node, an interface with `firewall=1` hangs on a small bridge of its own (fwbr, fwln, fwpr), so
every frame to or from it is bridged there once, wherever it goes. The bridge family sees the ports and marks
the packet; br_netfilter shows it to the families ip and ip6, which know its connection. (Not every kernel can
track connections in the bridge family itself.)

Source: `compile` and `compile_iptables_filter` in PVE/Firewall.pm.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from twin.wall.chains import Table, local_network
from twin.wall.matches import set_name
from twin.wall.sets import Entry, entries, filter_entries, ranges
from twin.wall.standard import Chains
from twin.wall.state import Conf, Guest, Port, Wall

TABLE = "pve-firewall"
FAMILIES = ("bridge", "ip", "ip6")
#: Marks: to a guest, from a guest; the rest of the number says at which port.
TO, FROM = 0x20000000, 0x40000000

NOTHING = "".join(f"table {family} {TABLE} {{}}\ndelete table {family} {TABLE}\n" for family in FAMILIES)


def in_force(cluster: Conf) -> bool:
    """Whether the firewall is on at all; `enable` has to be as it reads now."""
    return bool(cluster["options"].get("enable"))


def ruleset(wall: Wall) -> str:
    """The text for `nft -f`: it replaces what an earlier one made, with nothing if the firewall is off."""
    if not in_force(wall.cluster):
        return NOTHING
    wall = _with_local_network(wall)
    ports = [
        (guest, port) for guest in wall.guests if guest.conf["options"].get("enable") for port in guest.ports
    ]
    return NOTHING + _bridge(wall, ports) + "".join(_table(wall, ports, version) for version in (4, 6))


def _with_local_network(wall: Wall) -> Wall:
    """The `management` set holds the local network, whatever else it holds (`compile`)."""
    cluster = {**wall.cluster, "aliases": dict(wall.cluster["aliases"]), "ipset": dict(wall.cluster["ipset"])}
    networks = [local_network(wall.cluster, node) for node in wall.nodes]
    if networks:
        alias = {"name": "local_network", "cidr": networks[0]}
        cluster["aliases"].setdefault("local_network", alias)
    stored = cluster["ipset"].get("management", [])
    known = {row["cidr"] for row in stored}
    cluster["ipset"]["management"] = [
        *stored,
        *({"cidr": n} for n in dict.fromkeys(networks) if n not in known),
    ]
    return dataclasses.replace(wall, cluster=cluster)


# --------------------------------------------------------------------- frames


def _bridge(wall: Wall, ports: list[tuple[Guest, Port]]) -> str:
    rules = [
        "meta mark set 0",
        f'iifname "fwln*" meta mark set {TO:#x}',
        f'oifname "fwln*" meta mark set {FROM:#x}',
    ]
    chains: Chains = {}
    for number, (guest, port) in enumerate(ports, 1):
        rules.append(f'oifname "{port.device}" meta mark set {TO | number:#x}')
        rules.append(f'iifname "{port.device}" meta mark set {FROM | number:#x}')
        frames = _frames(guest, port, wall.cluster)
        if frames and str(wall.cluster["options"].get("ebtables", 1)) != "0":
            chains[f"{port.device}-FRAMES"] = frames
            rules.append(f'iifname "{port.device}" ether type != {{ ip, ip6 }} jump {port.device}-FRAMES')
    hook = "type filter hook forward priority -300; policy accept;"
    return _text("bridge", {}, {**chains, "ports": [hook, *rules]})


def _frames(guest: Guest, port: Port, cluster: Conf) -> list[str]:
    """What a guest may not send that is not IP (`generate_tap_layer2filter`)."""
    options, found = guest.conf["options"], []
    if port.mac and str(options.get("macfilter", 1)) != "0":
        found.append(f"ether saddr != {port.mac.lower()} drop")
    stored = entries(guest.conf["ipset"].get(f"ipfilter-net{port.index}", []), cluster, guest.conf)
    own = [(address, False) for address in port.addresses if options.get("ipfilter")]
    allowed = ranges([entry for entry in (*stored, *own) if not entry[1]], 4)
    if allowed:
        found.append(f"arp saddr ip != {{ {', '.join(allowed)} }} drop")
    return found


# -------------------------------------------------------------------- packets


def _table(wall: Wall, ports: list[tuple[Guest, Port]], version: int) -> str:
    table = Table(wall, version)
    for guest, port in ports:
        table.guest(guest, port)
    hosts: dict[str, list[str]] = {"input": [], "output": []}
    for number, node in enumerate(wall.nodes):
        own = [str(address) for address in node.addresses if address.version == version]
        if not own or str(node.conf["options"].get("enable", 1)) == "0":
            continue
        table.node(node, number)
        hosts["input"].append(f"{table.family} daddr {{ {', '.join(own)} }} jump PVEFW-HOST-IN-{number}")
        # What it sends itself over `lo` was judged as what arrives.
        leaving = f'oifname != "lo" {table.family} saddr {{ {", ".join(own)} }}'
        hosts["output"].append(f"{leaving} jump PVEFW-HOST-OUT-{number}")
    options = wall.nodes[0].conf["options"] if wall.nodes else {}
    chains = {
        **{name: rules or ["return"] for name, rules in table.chains.items()},
        "PVEFW-FWBR-IN": table.input_filters(options),
        "forward": [_hook("forward"), *_forward(table, ports, options)],
        **{hook: [_hook(hook), *rules] for hook, rules in hosts.items()},
    }
    return _text(table.family, _sets(wall, ports), chains, version)


def _forward(table: Table, ports: list[tuple[Guest, Port]], options: dict[str, Any]) -> list[str]:
    places = {
        mark | number: f"jump {port.device}-{direction}"
        for number, (_, port) in enumerate(ports, 1)
        for mark, direction in ((TO, "IN"), (FROM, "OUT"))
    }
    chosen = ", ".join(f"{mark:#x} : {verdict}" for mark, verdict in places.items())
    return [
        *table.tracked(allow_invalid=bool(options.get("nf_conntrack_allow_invalid"))),
        f"meta mark & {TO:#x} == {TO:#x} jump PVEFW-FWBR-IN",
        *([f"meta mark vmap {{ {chosen} }}"] if places else []),
    ]


def _hook(hook: str) -> str:
    return f"type filter hook {hook} priority 0; policy accept;"


def _sets(wall: Wall, ports: list[tuple[Guest, Port]]) -> dict[str, list[Entry]]:
    cluster = wall.cluster
    found = {set_name(0, name): entries(rows, cluster, cluster) for name, rows in cluster["ipset"].items()}
    for guest, port in ports:
        for name, rows in guest.conf["ipset"].items():
            found.setdefault(set_name(guest.vmid, name), entries(rows, cluster, guest.conf))
        own = f"ipfilter-net{port.index}"
        stored = entries(guest.conf["ipset"].get(own, []), cluster, guest.conf)
        found[set_name(guest.vmid, own)] = filter_entries(port, stored)
    return found


def _text(family: str, sets: dict[str, list[Entry]], chains: Chains, version: int = 4) -> str:
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"  # noqa: PLR2004
    lines = []
    for name, members in sorted(sets.items()):
        elements = ranges(members, version)
        holds = f" elements = {{ {', '.join(elements)} }};" if elements else ""
        lines.append(f"  set {name} {{ type {kind}; flags interval;{holds} }}")
    # All are known before one jumps; nobody jumps to a hook.
    lines += [
        f"  chain {name} {{}}" for name, rules in chains.items() if not "".join(rules[:1]).startswith("type ")
    ]
    for name, rules in chains.items():
        lines += [f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"]
    return f"table {family} {TABLE} {{\n" + "\n".join(lines) + "\n}\n"

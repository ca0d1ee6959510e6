"""One stored rule as nftables matches. Pure.

Source: `ipt_rule_to_cmds`, `ipt_gen_src_or_dst_match` and `$apply_macro` in PVE/Firewall.pm.
"""

from __future__ import annotations

import re
from typing import Any

from fakepve.firewall import PROTOCOLS, SERVICES

from twin.pve.firewall import resolve_alias
from twin.pve.macros import macro_rules
from twin.wall.icmp import ICMP, ICMPV6
from twin.wall.sets import version_of
from twin.wall.state import Conf

Rule = dict[str, Any]

_WITH_PORTS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
_ICMP_NAMES = {"icmp": ("icmp", ICMP), "icmpv6": ("icmpv6", ICMPV6), "ipv6-icmp": ("icmpv6", ICMPV6)}


class Unfit(Exception):  # noqa: N818
    """A rule cannot be made for this version of IP: it is left out, as pve-firewall does."""


def set_name(owner: int, name: str) -> str:
    """The nftables set of an IP set: of a guest by its VMID, of the cluster with 0."""
    return f"PVEFW-{owner}-{name}"


def lines(rule: Rule, version: int, cluster: Conf, conf: Conf, owner: int) -> list[str]:
    """The matches of a rule, one for each line that it becomes.

    Args:
        rule: a stored rule without errors, not of type `group`.
        version: 4 or 6.
        cluster: cluster.fw.
        conf: the file the rule stands in.
        owner: the VMID whose file that is; 0 for cluster and node.

    Raises:
        Unfit: it cannot be one.
    """
    parts = _parts(rule, version)
    return [" ".join(_match(part, version, cluster, conf, owner)) for part in parts]


def _parts(rule: Rule, version: int) -> list[Rule]:
    if not rule.get("macro"):
        return [rule]
    return [{**rule, **part} for part in macro_rules(rule["macro"], version)]


def _match(rule: Rule, version: int, cluster: Conf, conf: Conf, owner: int) -> list[str]:
    family = "ip" if version == 4 else "ip6"  # noqa: PLR2004
    found = []
    for key, side in (("source", "saddr"), ("dest", "daddr")):
        if rule.get(key):
            found.append(f"{family} {side} {_address(str(rule[key]), version, cluster, conf, owner)}")
    return [*found, *_protocol(rule)]


def _address(text: str, version: int, cluster: Conf, conf: Conf, owner: int) -> str:
    if text.startswith("+"):
        return "@" + set_name(*_set(text, cluster, conf, owner))
    if re.fullmatch(r"(?:dc/|guest/)?[A-Za-z][A-Za-z0-9_-]+", text):
        cidr = resolve_alias(text, cluster, conf)
        if cidr is None or version_of(cidr) != version:
            raise Unfit
        return cidr
    return f"{{ {', '.join(text.split(','))} }}"


def _set(text: str, cluster: Conf, conf: Conf, owner: int) -> tuple[int, str]:
    """Whose set a reference means: the guest's own comes first, unless it says `dc/`."""
    scope, _, name = text[1:].rpartition("/")
    if scope != "dc" and owner and name in conf["ipset"]:
        return owner, name
    if scope != "guest" and name in cluster["ipset"]:
        return 0, name
    raise Unfit


def _protocol(rule: Rule) -> list[str]:
    named = str(rule.get("proto") or "")
    if not named:
        return []
    if named in _ICMP_NAMES:
        return _icmp(named, str(rule.get("icmp-type") or rule.get("dport") or ""))
    number = int(named) if named.isdigit() else PROTOCOLS[named]
    ports = [(key, str(rule[key])) for key in ("sport", "dport") if rule.get(key)]
    if number in _WITH_PORTS and ports:
        return [f"{_WITH_PORTS[number]} {key} {{ {_ports(value)} }}" for key, value in ports]
    if ports:
        raise Unfit
    return [f"meta l4proto {number}"] if number else []


def _icmp(named: str, kind: str) -> list[str]:
    family, types = _ICMP_NAMES[named]
    protocol = f"meta l4proto {family}"
    if not kind or kind == "any":
        return [protocol]
    number, code = (int(kind), None) if kind.isdigit() else types.get(kind, (None, None))
    if number is None:
        raise Unfit
    return [f"{family} type {number}", *([f"{family} code {code}"] if code is not None else [])]


def _ports(text: str) -> str:
    return ", ".join(_port(part) for part in text.split(","))


def _port(part: str) -> str:
    return part.replace(":", "-") if part[0].isdigit() else str(SERVICES[part])

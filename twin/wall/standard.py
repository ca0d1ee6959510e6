"""The chains that every ruleset has: what is dropped without a word, how a rejection is worded. Pure.

Source: `$pve_std_chains_conf` in PVE/Firewall.pm, word by word.
"""

from __future__ import annotations

#: A chain that was gone through said yes: pve-firewall's own mark.
ACCEPTED = 0x80000000
ACCEPT_CHAIN = "PVEFW-SET-ACCEPT-MARK"
Chains = dict[str, list[str]]

_SYN = "tcp flags & (fin | syn | rst | ack)"
_NOISE = (
    ("udp dport { 135, 445 }", True),
    ("udp dport 137-139", True),
    ("udp dport 1024-65535 udp sport 137", True),
    ("tcp dport { 135, 139, 445 }", True),
    ("udp dport 1900", False),
    (f"{_SYN} != syn", False),
    ("udp sport 53", False),
)
_FLAGS = (
    "tcp flags & (fin | syn | rst | psh | ack | urg) == (fin | psh | urg)",
    "tcp flags & (fin | syn | rst | psh | ack | urg) == 0x0",
    "tcp flags & (syn | rst) == (syn | rst)",
    "tcp flags & (fin | syn) == (fin | syn)",
    f"tcp sport 0 {_SYN} == syn",
)


def standard(version: int) -> Chains:
    """The standard chains for a version of IP: name -> rules."""
    four = version == 4  # noqa: PLR2004
    return {
        ACCEPT_CHAIN: [f"meta mark set meta mark | {ACCEPTED:#x}"],
        "PVEFW-DropBroadcast": _broadcast4() if four else ["ip6 daddr ff00::/8 drop"],
        "PVEFW-reject": _reject4() if four else _reject6(),
        "PVEFW-Drop": [*_critical(four), *_noise(reject=False)],
        "PVEFW-Reject": [*_critical(four), *_noise(reject=True)],
        "PVEFW-smurfs": _smurfs() if four else [],
        "PVEFW-tcpflags": [f"{match} drop" for match in _FLAGS],
    }


def _broadcast4() -> list[str]:
    kinds = ("broadcast", "multicast", "anycast")
    return [*(f"fib daddr type {kind} drop" for kind in kinds), "ip daddr 224.0.0.0/4 drop"]


def _reject4() -> list[str]:
    return [
        "fib daddr type broadcast drop",
        "ip saddr 224.0.0.0/4 drop",
        "meta l4proto icmp drop",
        "meta l4proto tcp reject with tcp reset",
        "meta l4proto udp reject with icmp type port-unreachable",
        "reject with icmp type host-prohibited",
    ]


def _reject6() -> list[str]:
    return [
        "meta l4proto icmpv6 drop",
        "meta l4proto tcp reject with tcp reset",
        "meta l4proto udp reject with icmpv6 type port-unreachable",
        "reject with icmpv6 type admin-prohibited",
    ]


def _critical(four: bool) -> list[str]:
    if four:
        types = ["icmp type 3 icmp code 4 accept", "icmp type 11 accept"]
    else:
        types = ["icmpv6 type 1 accept", "icmpv6 type 3 accept", "icmpv6 type 2 accept"]
    auth = [] if four else ["tcp dport 43 jump PVEFW-reject"]
    return [*auth, "jump PVEFW-DropBroadcast", *types, "ct state invalid drop"]


def _noise(reject: bool) -> list[str]:
    return [f"{match} {'jump PVEFW-reject' if loud and reject else 'drop'}" for match, loud in _NOISE]


def _smurfs() -> list[str]:
    return ["ip saddr 0.0.0.0 return", "fib saddr type broadcast drop", "ip saddr 224.0.0.0/4 drop"]

"""What a cluster's firewall holds, as plain data: the part that is Hearth's, and words about the rest.

Hearth's rules, entries, sets, groups and aliases carry a comment that begins with MARK. Everything else is
foreign: it stays where it is, and is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "hearth"
CLUSTER = "cluster"
# What a rule consists of (`$rule_properties` of PVE/Firewall.pm); the rest of a row is worked out by Proxmox.
RULE_KEYS = (
    "type",
    "action",
    "macro",
    "iface",
    "source",
    "dest",
    "proto",
    "sport",
    "dport",
    "icmp-type",
    "log",
    "enable",
    "comment",
)
# The options that Hearth keeps; any other is the admin's.
OPTION_KEYS = {
    "cluster": ("policy_in",),
    "node": ("enable", "ndp", "log_level_in"),
    "guest": ("enable", "policy_in", "dhcp", "ndp", "log_level_in"),
}


def node_scope(name: str) -> str:
    """The scope of a node's own options and rules."""
    return f"node/{name}"


def guest_scope(name: str) -> str:
    """The scope of a guest's options and rules."""
    return f"guest/{name}"


def group_scope(name: str) -> str:
    """The scope of a security group's rules."""
    return f"group/{name}"


def is_ours(comment: object) -> bool:
    """True for the comment of something that Hearth has made."""
    return str(comment or "").split(maxsplit=1)[:1] in ([MARK], [f"{MARK}:"])


@dataclass(frozen=True, order=True)
class Rule:
    """A rule, by what it says: sorted (key, value) pairs, without its position."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Rule:
        """A rule of the API, or one that is wanted."""
        found = {key: str(row[key]).strip() for key in RULE_KEYS if row.get(key) not in (None, "")}
        found["enable"] = "0" if found.get("enable", "1") == "0" else "1"
        return cls(tuple(sorted(found.items())))

    def __getitem__(self, key: str) -> str:
        return dict(self.parts).get(key, "")

    def __str__(self) -> str:
        if self["type"] == "group":
            text = f"the group {self['action']}"
        else:
            what = (self["macro"], self["proto"], self["dport"], self["icmp-type"])
            ends = ("from", self["source"].removeprefix("+dc/")), ("to", self["dest"])
            words = (self["type"], self["action"].lower(), *what, *(f"{w} {v}" for w, v in ends if v))
            text = " ".join(word for word in words if word)
        return text if self["enable"] == "1" else f"{text} (switched off)"


@dataclass(frozen=True, order=True)
class Entry:
    """An address or network of a set; `nomatch`: an exception in it."""

    cidr: str
    nomatch: bool = False

    def __str__(self) -> str:
        return f"not {self.cidr}" if self.nomatch else self.cidr


@dataclass(frozen=True)
class Wall:
    """Hearth's part of a cluster's firewall.

    Args:
        sets: name -> entries.
        rules: scope -> rules; `group/NAME` for a security group, which exists where the key is there.
        options: scope -> key -> value; a missing key is not set.
        aliases: name -> address.
    """

    sets: Mapping[str, frozenset[Entry]] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the file of saved rules."""
        return {
            "sets": {name: [[e.cidr, e.nomatch] for e in sorted(them)] for name, them in self.sets.items()},
            "rules": {scope: [dict(rule.parts) for rule in them] for scope, them in self.rules.items()},
            "options": {scope: dict(them) for scope, them in self.options.items()},
            "aliases": dict(self.aliases),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Wall:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            sets={
                name: frozenset(Entry(str(cidr), bool(nomatch)) for cidr, nomatch in them)
                for name, them in saved["sets"].items()
            },
            rules={scope: tuple(map(Rule.of, them)) for scope, them in saved["rules"].items()},
            options={scope: {k: str(v) for k, v in them.items()} for scope, them in saved["options"].items()},
            aliases={name: str(cidr) for name, cidr in saved["aliases"].items()},
        )


@dataclass(frozen=True)
class Seen:
    """What was observed.

    Args:
        wall: Hearth's part of it.
        enable: 0: off; 1: on; anything higher: on for a minute from that Unix time on (the dead-man switch).
        paths: scope -> its place in the API.
        foreign: what is not ours, in words.
        shared: sets, groups (as scopes) and aliases (`alias/NAME`) that are foreign, or hold something
            foreign: never removed.
        taken: (set, address) that somebody else has put into a set of ours.
        loop: a change may take effect only with the next round of a daemon.
    """

    wall: Wall
    enable: int
    paths: Mapping[str, str]
    foreign: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()
    taken: frozenset[tuple[str, str]] = frozenset()
    loop: bool = False


def marked(text: str) -> str:
    """A comment that says that something is ours."""
    return f"{MARK}: {text}" if text else MARK

"""What differs between two walls, and the writes that end it: pure.

The order keeps whoever is let in let in: first what opens, then the policies, then what closes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hearth.proxmox.firewall.model import Entry, Rule, Seen, Wall

Verb = Literal["make", "add", "set", "unset", "remove", "unmake"]


@dataclass(frozen=True)
class Step:
    """One difference, and the one write that ends it.

    Args:
        verb: "make" and "unmake": a set or a group; "add" and "remove": something in it; "set" and "unset":
            an option.
        kind: "ipset", "entry", "group", "rule", "option", "alias".
        place: the set's name, or the scope.
        what: the entry, the rule, or the option's or alias' name.
        old, new: values of an option or alias; "" where there is none.
    """

    verb: Verb
    kind: Literal["ipset", "entry", "group", "rule", "option", "alias"]
    place: str
    what: Entry | Rule | str = ""
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        if self.kind in ("option", "alias"):
            return f"{self.place}: {self.what}: {self.old or 'none'} -> {self.new or 'none'}"
        sign = "+" if self.verb in ("make", "add") else "-"
        where = self.place if self.kind == "rule" else f"set {self.place}"
        if self.kind in ("ipset", "group"):
            return f"{sign} {where if self.kind == 'ipset' else self.place}"
        return f"{where}: {sign} {self.what}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "verb": self.verb,
            "kind": self.kind,
            "place": self.place,
            "what": str(self.what),
            "old": self.old,
            "new": self.new,
        }


def differences(wanted: Wall, seen: Seen) -> tuple[Step, ...]:
    """Every step from what is there to what is wanted, in the order in which they may be taken."""
    there = seen.wall
    return (
        *_sets_to_fill(wanted, seen),
        *_groups_to_make(wanted, there),
        *_rules(wanted, there, "add"),
        *_options(wanted, there),
        *_rules(wanted, there, "remove"),
        *_groups_to_unmake(wanted, seen),
        *_aliases(wanted, seen),
        *_sets_to_empty(wanted, seen),
    )


def _sets_to_fill(wanted: Wall, seen: Seen) -> Iterator[Step]:
    for name, entries in wanted.sets.items():
        if name not in seen.wall.sets:
            yield Step("make", "ipset", name)
        have = seen.wall.sets.get(name, frozenset())
        present = {entry.cidr: entry for entry in have}
        for entry in sorted(entries - have):
            if (name, entry.cidr) not in seen.taken:  # there it is already, and not ours
                yield Step("add", "entry", name, entry, str(present.get(entry.cidr, "")))


def _sets_to_empty(wanted: Wall, seen: Seen) -> Iterator[Step]:
    for name, entries in seen.wall.sets.items():
        kept = {entry.cidr for entry in wanted.sets.get(name, frozenset())}
        for entry in sorted(entries):
            if entry.cidr not in kept:  # with another `nomatch` it was changed by the step that adds it
                yield Step("remove", "entry", name, entry)
        if name not in wanted.sets and name not in seen.shared:
            yield Step("unmake", "ipset", name)


def _groups_to_make(wanted: Wall, there: Wall) -> Iterator[Step]:
    for scope in wanted.rules:
        if scope.startswith("group/") and scope not in there.rules:
            yield Step("make", "group", scope)


def _groups_to_unmake(wanted: Wall, seen: Seen) -> Iterator[Step]:
    for scope in seen.wall.rules:
        if scope.startswith("group/") and scope not in wanted.rules and scope not in seen.shared:
            yield Step("unmake", "group", scope)


def _rules(wanted: Wall, there: Wall, verb: Literal["add", "remove"]) -> Iterator[Step]:
    for scope in dict.fromkeys((*wanted.rules, *there.rules)):
        want, have = Counter(wanted.rules.get(scope, ())), Counter(there.rules.get(scope, ()))
        for rule in sorted(((want - have) if verb == "add" else (have - want)).elements()):
            yield Step(verb, "rule", scope, rule)


def _options(wanted: Wall, there: Wall) -> Iterator[Step]:
    for scope, values in wanted.options.items():
        have = there.options.get(scope, {})
        for key in dict.fromkeys((*values, *have)):
            if values.get(key) != have.get(key):
                verb: Verb = "set" if key in values else "unset"
                yield Step(verb, "option", scope, key, have.get(key, ""), values.get(key, ""))


def _aliases(wanted: Wall, seen: Seen) -> Iterator[Step]:
    have = seen.wall.aliases
    for name in dict.fromkeys((*wanted.aliases, *have)):
        if wanted.aliases.get(name) != have.get(name) and f"alias/{name}" not in seen.shared:
            verb: Verb = "set" if name in wanted.aliases else "unset"
            yield Step(verb, "alias", "cluster", name, have.get(name, ""), wanted.aliases.get(name, ""))

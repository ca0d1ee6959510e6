"""The wall of a run that is about some guests alone: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hearth.proxmox.firewall.model import Rule, Wall, group_scope, guest_scope


def narrowed(wanted: Wall, there: Wall, guests: Iterable[str]) -> Wall:
    """What is there, with some guests as they are wanted, and the groups and sets that these need and lack.

    Args:
        wanted: the whole wall.
        there: Hearth's part of what there is: all that is not these guests' stays like this.
        guests: their names.
    """
    own = {scope: wanted.rules[scope] for scope in map(guest_scope, guests) if scope in wanted.rules}
    groups = {scope: wanted.rules[scope] for scope in _groups(own.values()) if scope not in there.rules}
    needed = {name for rules in (*own.values(), *groups.values()) for name in _sets(rules)}
    return replace(
        there,
        sets={**{name: wanted.sets[name] for name in needed}, **there.sets},
        rules={**there.rules, **groups, **own},
        options={**there.options, **{scope: wanted.options[scope] for scope in own}},
    )


def _groups(scopes: Iterable[Iterable[Rule]]) -> set[str]:
    return {group_scope(rule["action"]) for rules in scopes for rule in rules if rule["type"] == "group"}


def _sets(rules: Iterable[Rule]) -> Iterable[str]:
    return (rule["source"].removeprefix("+dc/") for rule in rules if rule["source"])

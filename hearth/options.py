"""The command line of this run, as pyinfra's own parser understood it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Args:
        operations: what follows the inventory: deploy files, or `debug-inventory`, `fact`, `exec`.
        dry: nothing may change, here or there.
        yes: do not ask.
        json: stdout carries JSON only.
        limited: --limit or --exclude was given.
        apart: --serial or --no-wait was given: hosts do not wait for each other between steps.
        verbosity: the number of -v.
        data: `--data KEY=VALUE` pairs.
    """

    operations: tuple[str, ...] = ()
    dry: bool = False
    yes: bool = False
    json: bool = False
    limited: bool = False
    apart: bool = False
    verbosity: int = 0
    data: Mapping[str, str] | None = None

    @classmethod
    def from_command_line(cls) -> Options:
        """The options of the pyinfra command under way; defaults outside of one."""
        context = click.get_current_context(silent=True)
        if context is None:
            return cls(dry=True)
        params: dict[str, Any] = context.params
        return cls(
            operations=tuple(params.get("operations") or ()),
            dry=bool(params.get("dry") or params.get("debug_operations") or params.get("debug_facts")),
            yes=bool(params.get("yes")),
            json=bool(params.get("json_output")),
            limited=bool(params.get("limit") or params.get("exclude")),
            apart=bool(params.get("serial") or params.get("no_wait")),
            verbosity=int(params.get("verbosity") or 0),
            data=dict(pair.split("=", 1) for pair in params.get("data") or () if "=" in pair),
        )

    @property
    def looks_only(self) -> bool:
        """True for the commands that only show: they work with the API down, and need no lock."""
        return bool(self.operations) and self.operations[0] in ("debug-inventory", "fact")

    @property
    def may_change(self) -> bool:
        """True where this run may write, here or there."""
        asks_nobody = self.json and not self.yes
        return not (self.dry or self.looks_only or asks_nobody)

    def names(self, key: str) -> frozenset[str]:
        """What is named with `--data KEY=NAME[,NAME]`: guests, or secrets."""
        value = (self.data or {}).get(key, "")
        return frozenset(name.strip() for name in value.split(",") if name.strip())

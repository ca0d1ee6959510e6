"""What an operation found to be otherwise, field by field, while it was planned: for `hearth drift`.

pyinfra keeps of a planned operation only whether it would change something. Ours note here why, before their
first command; what notes nothing is told by its name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api.state import StateStage
from pyinfra.context import ctx_host, host, state


@dataclass(frozen=True)
class Lack:
    """One thing that is otherwise than it should be.

    Args:
        kind: "file", "service", "package", "wall", "release".
        thing: its name: a path, a unit, a package.
        field: what of it differs: "content", "mode", "state".
        now, wanted: as shown; no secret.
    """

    kind: str
    thing: str
    field: str
    now: str
    wanted: str

    def to_json(self) -> dict[str, str]:
        """A JSON object with these five keys."""
        return asdict(self)


@dataclass(frozen=True)
class Notes:
    """Of one operation on one host.

    Args:
        lacks: what it found.
        follows: it has nothing to mend of its own: it follows from another operation's change.
        says: what the plan says beside its name.
    """

    lacks: tuple[Lack, ...] = ()
    follows: bool = False
    says: str = ""


_notes: WeakKeyDictionary[Any, dict[str, Notes]] = (
    WeakKeyDictionary()
)  # pyinfra's host -> operation hash -> notes


def note(lacks: Sequence[Lack], follows: bool = False, says: str = "") -> None:
    """Note what the operation under way found; nothing outside of a plan.

    Args:
        lacks: what is otherwise.
        follows: nothing is, and the operation only follows from what another one changes (a restart).
        says: what the plan says beside its name.
    """
    if host.current_op_hash is None or state.current_stage >= StateStage.Execute:
        return
    found = _notes.setdefault(ctx_host.get(), {})
    found[host.current_op_hash] = Notes(
        (*found.get(host.current_op_hash, Notes()).lacks, *lacks), follows, says
    )


def noted(of: Any, op_hash: str) -> Notes:
    """What an operation noted on a host of pyinfra's; nothing where it noted nothing."""
    return _notes.get(of, {}).get(op_hash, Notes())


def fields(
    kind: str, thing: str, now: Mapping[str, str], wanted: Mapping[str, str], hidden: Sequence[str] = ()
) -> list[Lack]:
    """A lack for each field that differs.

    Args:
        kind, thing: see `Lack`.
        now, wanted: field -> value.
        hidden: fields whose values say nothing to people, or are not for their eyes.
    """
    return [
        Lack(
            kind,
            thing,
            field,
            *(("otherwise", "Hearth's") if field in hidden else (now.get(field, ""), value)),
        )
        for field, value in wanted.items()
        if now.get(field) != value
    ]

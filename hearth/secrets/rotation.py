"""Where a secret stands while it is being rotated; pure, on plain data.

It is kept in the secrets file, as `rotating/<name>`, so that the next run goes on where this one was cut off:

- offered: the new value is known and, where the server can hold two, accepted; the old one is used.
- switched: the new value is used; the old one is still accepted, where the server can hold two.
- withdrawn: only the new one is accepted.

What an ordinary deploy brings follows from the phase too: one in between breaks nothing and takes nothing
back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hearth.errors import HearthError
from hearth.secrets.value import Secret

ROTATING = "rotating/"  # before a secret's name: where its rotation is kept
Phase = Literal["offered", "switched", "withdrawn"]
PHASES: tuple[Phase, ...] = ("offered", "switched", "withdrawn")
Find = Callable[[str], Secret | None]
Values = Mapping[str, Secret | None]


@dataclass(frozen=True)
class Rotation:
    """One secret's rotation.

    Args:
        name: the secret's name.
        phase: how far it is.
        other: the value that is not the current one, and what belongs to it, by the secrets' names: the new
            ones while offered, the old ones later. None: there is none (yet).
    """

    name: str
    phase: Phase
    other: Values

    @property
    def accepted(self) -> bool:
        """True while the other value is to be accepted beside the current one."""
        return self.phase != "withdrawn"


def entry_of(name: str) -> str:
    """The name under which a rotation is kept."""
    return ROTATING + name


def encode(rotation: Rotation) -> str:
    """The rotation as it is kept."""
    other = {name: value.reveal() if value else None for name, value in rotation.other.items()}
    return json.dumps({"phase": rotation.phase, "other": other})


def decode(name: str, text: Secret) -> Rotation:
    """The rotation of a secret.

    Raises:
        HearthError: it is damaged.
    """
    try:
        body = json.loads(text.reveal())
        other = {
            str(part): None if value is None else Secret(str(value)) for part, value in body["other"].items()
        }
        return Rotation(name, PHASES[PHASES.index(body["phase"])], other)
    except (ValueError, KeyError, TypeError, AttributeError):
        # No cause: a parser's message quotes what it could not parse.
        raise HearthError(
            f"go on with the rotation of {name}",
            "what was kept of it is damaged",
            f"hearth secrets remove {entry_of(name)}, and rotate it again",
        ) from None


def reaches(rotation: Rotation, phase: Phase) -> bool:
    """True where it is at this phase or past it."""
    return PHASES.index(rotation.phase) >= PHASES.index(phase)


def moved(rotation: Rotation, phase: Phase, find: Find) -> tuple[Rotation, Values]:
    """The rotation moved on to a phase, and the values that are current then.

    Args:
        rotation: where it stands; it never goes back.
        phase: where it should stand.
        find: the current value of a secret.

    Returns:
        The rotation, and the secrets that change with it; None: that one goes.
    """
    if reaches(rotation, phase):
        return rotation, {}
    if rotation.phase != "offered" or rotation.other.get(rotation.name) is None:
        # Switched already; or its new value is made by a step of the run and is not known yet.
        return replace(rotation, phase=phase), {}
    old = {name: find(name) for name in rotation.other}
    return Rotation(rotation.name, phase, old), rotation.other


def accepted_beside(find: Find, name: str) -> Values:
    """What else than the current value a server has to accept for a secret; empty where nothing is.

    Args:
        find: looks a secret up.
        name: the secret.

    Returns:
        The other value and what belongs to it, by the secrets' names.
    """
    text = find(entry_of(name))
    rotation = decode(name, text) if text else None
    if rotation is None or not rotation.accepted or rotation.other.get(name) is None:
        return {}
    return rotation.other


def refused_now(find: Find, name: str) -> Secret | None:
    """The value that a server must no longer accept for a secret; None where nothing is being withdrawn.

    Args:
        find: looks a secret up.
        name: the secret.
    """
    text = find(entry_of(name))
    rotation = decode(name, text) if text else None
    return None if rotation is None or rotation.accepted else rotation.other.get(name)

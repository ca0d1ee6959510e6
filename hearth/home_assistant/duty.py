"""Something that should be so inside Home Assistant: a question that only reads, and a deed that mends."""

from __future__ import annotations

from typing import Protocol

from hearth.errors import HearthError
from hearth.home_assistant.client import Client, LostError, until
from hearth.home_assistant.home import Home

STARTS = 300.0  # seconds until Home Assistant answers; the first start compiles everything


class Duty(Protocol):
    """Something that should be so."""

    def missing(self, home: Home) -> list[str]:
        """What is not so, in words for the plan; only reads. Raises HearthError."""

    def mend(self, home: Home) -> None:
        """Make it so. Raises HearthError."""


def settle(duty: Duty, home: Home) -> None:
    """See that a duty is done, as soon as Home Assistant can tell; it may just be starting.

    Every deed can be done again: where the line breaks in the middle (it restarts itself now and then), the
    whole is tried once more.

    Raises:
        HearthError: it does not answer in `STARTS` seconds, refuses, or the duty is not done afterwards.
    """
    try:
        _done(duty, home)
    except LostError:
        home.close()
        _done(duty, home)


def _done(duty: Duty, home: Home) -> None:
    missing: list[str] = []

    def answered() -> bool:
        missing[:] = duty.missing(home)
        return True

    until("answer", home.place, answered, STARTS)
    if missing:
        duty.mend(home)
        missing = duty.missing(home)
    if missing:
        raise HearthError(
            f"settle Home Assistant on {home.place.name}",
            f"it is done, and still to do: {'; '.join(missing)}",
        )


def deployer(home: Home) -> Client:
    """The run's own access. Raises HearthError where there is none, or it no longer holds."""
    found = home.deployer
    if found is None:
        raise HearthError(
            f"look into Home Assistant on {home.place.name}",
            "the run has no token yet",
            "deploy the whole role",
        )
    return found

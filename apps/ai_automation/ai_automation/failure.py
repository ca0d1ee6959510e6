"""How an action fails."""

from __future__ import annotations

from typing import Literal

# not_sent: it never reached the other side, so trying again is always safe.
# unsure: it may have been done: tried again only where twice is the same as once.
# final: the other side said no, or the rule is wrong: trying again is no use.
Again = Literal["not_sent", "unsure", "final"]


class ActionError(Exception):
    """An action that failed.

    Args:
        reason: why, in plain words; no secret in it.
        again: whether it may be tried again.
        result: what was done before it failed, for the record.
    """

    def __init__(self, reason: str, again: Again = "final", result: object = None) -> None:
        super().__init__(reason)
        self.again = again
        self.result = result

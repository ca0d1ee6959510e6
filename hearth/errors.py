"""The one family of errors that the admin reads.

Every message has the form "cannot DO THING to NAME: REASON (what to do)". They derive from
pyinfra's own error, so that pyinfra prints them without a traceback and ends non-zero.
"""

from __future__ import annotations

from pyinfra.api.exceptions import PyinfraError


class HearthError(PyinfraError):
    """Something the admin can understand and mend.

    Args:
        action: what was attempted and on what, e.g. "create guest comms".
        reason: why it failed, in the words of whoever refused it.
        remedy: what the admin can do; shown in brackets. Empty where there is none.
    """

    def __init__(self, action: str, reason: str, remedy: str = "") -> None:
        self.action = action
        self.reason = reason.strip().rstrip(".")
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        tail = f" ({self.remedy})" if self.remedy else ""
        return f"cannot {self.action}: {self.reason}{tail}"

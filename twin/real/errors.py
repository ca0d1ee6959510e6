"""What goes wrong with a real guest."""

from __future__ import annotations


class GuestError(Exception):
    """What went wrong, in LXC's words; `log` holds the end of its log."""

    def __init__(self, message: str, log: list[str] | None = None) -> None:
        super().__init__(message)
        self.log = log or []

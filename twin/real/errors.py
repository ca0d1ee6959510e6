"""What goes wrong with a real guest."""

from __future__ import annotations


class GuestError(Exception):
    """What went wrong, in LXC's words; `log` holds the end of its log."""

    def __init__(self, message: str, log: list[str] | None = None) -> None:
        super().__init__(message)
        self.log = log or []


def errors_of(log: str) -> list[str]:
    """The errors of LXC's log, without time and place."""
    lines = [line.split(" ERROR ", 1)[1] for line in log.splitlines() if " ERROR " in line]
    return [line.split(" - ", 2)[-1].strip() for line in lines][:8]

"""What a check says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One answer of the doctor.

    Args:
        check: what was looked at, a stable word: "fleet", "secrets", "api", "token", "storage", ...
        status: "ok", "warn" (works, but should be mended) or "fail" (a deploy would fail).
        text: what is there or wrong, with its name.
        remedy: exactly what to type, or to do; empty where all is well.
    """

    check: str
    status: Status
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """A JSON object with these four keys."""
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, remedy: str) -> Finding:
    """It works, but should be mended."""
    return Finding(check, "warn", text, remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """A deploy would fail."""
    return Finding(check, "fail", text, remedy)


def all_well(findings: Iterable[Finding]) -> bool:
    """True when every finding is ok."""
    return all(finding.status == "ok" for finding in findings)

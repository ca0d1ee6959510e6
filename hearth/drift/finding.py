"""What a look for drift says, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Final, Literal

VERSION: Final = 1  # of the JSON; raised where a key changes its meaning or goes
CLEAN, FAILED, DRIFT = 0, 1, 2

Kind = Literal[
    "guest",
    "file",
    "service",
    "package",
    "release",
    "wall",
    "step",
    "firewall",
    "tailnet",
    "policy",
    "certificate",
    "backup",
    "unmanaged",
    "foreign",
]


@dataclass(frozen=True)
class Finding:
    """One thing that is otherwise.

    Args:
        subject: the guest or node; "home" for what belongs to none.
        kind: what sort of thing.
        thing: its name: a path, a unit, a device; empty for the guest itself.
        field: what of it: "memory", "content", "mode", "state".
        now, wanted: as shown; empty where only the field says it. Never a secret.
        remedy: what else than a deploy mends it; empty where a deploy does.
    """

    subject: str
    kind: Kind
    thing: str
    field: str = ""
    now: str = ""
    wanted: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.kind, self.thing) if part)
        name = f"{what}: {self.field}" if self.field else what
        if self.wanted:
            return f"{name}: {self.now or 'none'}, should be {self.wanted}"
        return f"{name}: {self.now}" if self.now else name

    def to_json(self) -> dict[str, str]:
        """A JSON object with these seven keys; all are strings."""
        return asdict(self)


@dataclass(frozen=True)
class Trouble:
    """Something that could not be looked at.

    Args:
        subject: the guest, the node or "home".
        reason: why.
    """

    subject: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """A JSON object with these two keys."""
        return asdict(self)


@dataclass(frozen=True)
class Drift:
    """All that was found.

    Args:
        findings: what is otherwise.
        notes: what is nobody's mistake, and worth knowing: guests and rules that are not Hearth's.
        troubles: what could not be looked at.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def code(self) -> int:
        """The exit code. What could not be looked at wins: nobody knows then whether all was found."""
        return FAILED if self.troubles else DRIFT if self.findings else CLEAN

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            (*self.findings, *other.findings),
            (*self.notes, *other.notes),
            (*self.troubles, *other.troubles),
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`; see docs/drift.md."""
        return {
            "version": VERSION,
            "clean": self.code == CLEAN,
            "drift": [finding.to_json() for finding in self.findings],
            "notes": [note.to_json() for note in self.notes],
            "errors": [trouble.to_json() for trouble in self.troubles],
        }

    def lines(self) -> Iterator[str]:
        """For people: by subject, then notes, then what could not be looked at; nothing where all is well."""
        yield from _grouped(self.findings)
        for note in self.notes:
            yield f"not Hearth's: {note}"
        for trouble in self.troubles:
            yield f"not looked at: {trouble.subject}: {trouble.reason}"


def _grouped(findings: Iterable[Finding]) -> Iterator[str]:
    for subject, group in groupby(sorted(findings, key=lambda one: one.subject), lambda one: one.subject):
        yield subject
        for finding in group:
            yield f"  {finding}"
            if finding.remedy:
                yield f"    -> {finding.remedy}"


@dataclass
class Collected:
    """Where the parts put what they find.

    Args:
        findings, notes, troubles: see `Drift`.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def drift(self) -> Drift:
        """All of it."""
        return Drift(tuple(self.findings), tuple(self.notes), tuple(self.troubles))

"""Facts of ours: each is one command, and has a default that reads like an empty machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyinfra.api.facts import FactBase

SHOWN = (
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "ActiveEnterTimestamp",
    "StateChangeTimestamp",
    "ConditionResult",
    "Result",
    "ConditionTimestamp",
)


@dataclass(frozen=True)
class FileState:
    """What there is at a path: owner, group, mode (octal digits) and SHA-256 of a file's content."""

    user: str
    group: str
    mode: str
    sha256: str


class FileStates(FactBase[list[FileState | None]]):
    """The state of files, symbolic links followed, in the order of the paths; None where there is no file.

    + paths: absolute paths
    """

    @staticmethod
    def default() -> list[FileState | None]:
        return []

    def command(self, paths: Sequence[str]) -> str:
        names = " ".join(map(shlex.quote, paths))
        return (
            f'export LC_ALL=C; for f in {names}; do if [ -f "$f" ]; '
            """then echo "$(stat -Lc '%U %G %a' "$f") $(sha256sum < "$f")"; else echo -; fi; done"""
        )

    def process(self, output: list[str]) -> list[FileState | None]:
        return [None if line == "-" else FileState(*line.split()[:4]) for line in output]


class Succeeds(FactBase[bool]):
    """Whether a shell command exits with 0.

    + test: the command; what it prints is dropped
    """

    @staticmethod
    def default() -> bool:
        return False

    def command(self, test: str) -> str:
        return f"if ( {test} ) >/dev/null 2>&1; then echo yes; else echo no; fi"

    def process(self, output: list[str]) -> bool:
        return output[-1:] == ["yes"]


@dataclass(frozen=True)
class UnitState:
    """A systemd unit (`systemctl show`) and when files were last changed.

    Args:
        loaded: there is such a unit.
        active: ActiveState is "active" or "reloading".
        enabled: it starts at boot, or cannot be enabled (static, generated, alias).
        stale: unit files changed since systemd read them.
        skipped: its own conditions did not hold when it was last started (ConditionVirtualization=...). An
            ExecCondition= is none of these: systemd says no to it too, but it waits for what a run brings.
        started: when it last became active.
        told: when it was last started or reloaded.
        changed: by path, when the file was last written, renamed or given another owner or mode.
    """

    loaded: bool = False
    active: bool = False
    enabled: bool = False
    stale: bool = False
    skipped: bool = False
    started: datetime | None = None
    told: datetime | None = None
    changed: tuple[tuple[str, datetime], ...] = ()


class Unit(FactBase[UnitState]):
    """A unit's state, together with the change times of files it reads.

    + unit: full name, with its suffix
    + paths: files of interest
    """

    @staticmethod
    def default() -> UnitState:
        return UnitState()

    def command(self, unit: str, paths: Sequence[str] = ()) -> str:
        show = f"systemctl show --timestamp=us+utc -p {','.join(SHOWN)} {shlex.quote(unit)}"
        times = [f"stat -Lc 'file=%.6Z %n' {shlex.quote(path)} 2>/dev/null || :" for path in paths]
        # The guest's locale may write numbers with a comma.
        return "; ".join(["export LC_ALL=C", show, *times])

    def process(self, output: list[str]) -> UnitState:
        pairs = [line.partition("=")[::2] for line in output]
        shown = dict(pairs)
        files = [value.partition(" ")[::2] for key, value in pairs if key == "file"]
        return UnitState(
            loaded=shown.get("LoadState") == "loaded",
            active=shown.get("ActiveState") in ("active", "reloading"),
            enabled=shown.get("UnitFileState", "") not in ("", "disabled", "masked", "enabled-runtime"),
            stale=shown.get("NeedDaemonReload") == "yes",
            skipped=shown.get("ConditionResult") == "no"
            and bool(shown.get("ConditionTimestamp"))
            and shown.get("Result") != "exec-condition",
            started=_moment(shown.get("ActiveEnterTimestamp", "")),
            told=_moment(shown.get("StateChangeTimestamp", "")),
            changed=tuple((path, datetime.fromtimestamp(float(at), UTC)) for at, path in files),
        )


def _moment(text: str) -> datetime | None:
    """`Mon 2026-11-23 10:46:20.123456 UTC`, systemctl(1) with --timestamp=us+utc; None for none."""
    if not text or text == "n/a":
        return None
    return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC)


class UnitNames(FactBase[list[str]]):
    """What lies in /etc/systemd/system: units, and folders of parts; nothing on an absent guest."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self) -> str:
        return "ls /etc/systemd/system"

    def process(self, output: list[str]) -> list[str]:
        return output

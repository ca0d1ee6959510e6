"""Find a backup and prove it: every piece that will be needed is read whole and compared with its manifest.

Nothing here changes anything. What is wrong is named, and the next older backup that is whole is offered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hearth.backup.onguest.restic import HOST, ResticError
from hearth.backup.onguest.stream import MANIFEST, Manifest, Piece, StreamError, read_manifest
from hearth.backup.source import Source, answer
from hearth.errors import HearthError

CHUNK = 1 << 20
TRIES = 12  # backups that are looked at for one that is whole
Wanted = Mapping[str, Sequence[str]]  # guest -> the names of its pieces


@dataclass(frozen=True)
class Snapshot:
    """A snapshot.

    Args:
        source: the repository that has it.
        ident: restic's name of it.
        time: when it was made.
        guests: the folder in it that holds the guests' states.
    """

    source: Source
    ident: str
    time: datetime
    guests: str

    def __str__(self) -> str:
        return f"the backup of {shown(self.time)} in {self.source.name}"


@dataclass(frozen=True)
class Proven:
    """A backup that was read whole.

    Args:
        snapshot: the snapshot.
        manifests: what it has of each guest.
        missing: guest/piece of what was asked for and is not in it.
    """

    snapshot: Snapshot
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def pieces(self, guest: str, role: str) -> tuple[Piece, ...]:
        """What there is of a role on a guest."""
        manifest = self.manifests.get(guest)
        return tuple(
            piece for piece in (manifest.pieces if manifest else ()) if piece.role == role and piece.kept
        )

    def path(self, guest: str, piece: Piece) -> str:
        """Where a piece is in the snapshot."""
        return f"{self.snapshot.guests}/{guest}/{piece.name}"


class DamagedError(Exception):
    """A backup that cannot be used; `reasons` are what is wrong with it."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


def shown(moment: datetime) -> str:
    """A time as the admin may write it behind `date=`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def read_date(text: str) -> datetime:
    """What stands behind `date=`: a day means its end, in UTC.

    Raises:
        HearthError: it is no date.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise HearthError(
            "choose a backup", f"date={text} is no date", "write 2026-11-30 or 2026-11-30T03:10:00"
        ) from None
    if len(text) == len("2026-11-30"):
        found += timedelta(days=1, microseconds=-1)
    else:
        found += timedelta(microseconds=999_999)  # what is shown has no parts of seconds
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def snapshots(source: Source) -> list[Snapshot]:
    """The snapshots of a repository, newest first. Raises ResticError: it cannot be opened."""
    rows = json.loads(answer(source, "snapshots", "--json", "--no-lock", f"--host={HOST}") or b"[]") or []
    found = [
        Snapshot(source, str(row["id"]), datetime.fromisoformat(row["time"]), f"{path}/guests")
        for row in rows
        for path in row["paths"]
        if path.endswith("/current")
    ]
    return sorted(found, key=lambda snapshot: snapshot.time, reverse=True)


def prove(snapshot: Snapshot, wanted: Wanted) -> Proven:
    """Read all that will be needed of a snapshot.

    Raises:
        DamagedError: something cannot be read, or is not what its manifest says.
    """
    try:
        there = sizes(snapshot)
    except (ResticError, ValueError, KeyError) as error:
        raise DamagedError([f"it cannot be listed: {error}"]) from None
    manifests: dict[str, Manifest] = {}
    missing, wrong = [], []
    for guest, names in wanted.items():
        if f"{guest}/{MANIFEST}" not in there:
            half = any(path.startswith(f"{guest}/") for path in there)
            if half:
                wrong.append(f"the state of {guest} is half-written: it has no manifest")
            missing += [f"{guest}/{name}" for name in names]
            continue
        try:
            manifests[guest] = _manifest(snapshot, guest)
        except (ResticError, StreamError) as error:
            wrong.append(f"{guest}: {error}")
            continue
        missing += [f"{guest}/{name}" for name in names if manifests[guest].piece(name) is None]
        wrong += [
            text for name in names for text in _wrong(snapshot, guest, manifests[guest].piece(name), there)
        ]
    if wrong:
        raise DamagedError(wrong)
    return Proven(snapshot, manifests, tuple(missing))


def sizes(snapshot: Snapshot) -> dict[str, int]:
    """The files of a snapshot: GUEST/NAME -> bytes. Raises ResticError."""
    found = {}
    for line in answer(snapshot.source, "ls", "--json", "--no-lock", snapshot.ident).splitlines():
        node: dict[str, Any] = json.loads(line)
        path = str(node.get("path", ""))
        if node.get("type") == "file" and path.startswith(f"{snapshot.guests}/"):
            found[path.removeprefix(f"{snapshot.guests}/")] = int(node.get("size", 0))
    return found


def _manifest(snapshot: Snapshot, guest: str) -> Manifest:
    path = f"{snapshot.guests}/{guest}/{MANIFEST}"
    return read_manifest(answer(snapshot.source, "dump", "--no-lock", snapshot.ident, path))


def _wrong(snapshot: Snapshot, guest: str, piece: Piece | None, there: Mapping[str, int]) -> Iterator[str]:
    """Why a piece is no good; nothing where it is."""
    if piece is None or not piece.kept:
        return
    name = f"{guest}/{piece.name}"
    if name not in there:
        yield f"{name} is missing, although the manifest has it"
    elif there[name] != piece.size:
        yield f"{name} is half-written: {there[name]} bytes of {piece.size}"
    else:
        try:
            if digest(snapshot, f"{snapshot.guests}/{name}") != piece.sha256:
                yield f"{name} is damaged: it is not what its manifest says"
        except ResticError as error:
            yield f"{name} is damaged: {error}"


def digest(snapshot: Snapshot, path: str) -> str:
    """The hash of a file, read whole. Raises ResticError."""
    found = hashlib.sha256()
    with snapshot.source.read("dump", "--no-lock", snapshot.ident, path) as stream:
        while chunk := stream.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


@dataclass(frozen=True)
class Choice:
    """What the admin asked for.

    Args:
        date: not newer than that; None: the newest.
        oldest: how old data may be, where no date was given.
        now: the time.
        accept_missing: go on where a state is in no backup.
    """

    date: datetime | None
    oldest: timedelta
    now: datetime
    accept_missing: bool = False


def find(
    sources: Sequence[Source], wanted: Wanted, choice: Choice, say: Callable[[str], None] = lambda _: None
) -> Proven:
    """The backup to restore from, proven.

    The newest that is not newer than the date, of whichever repository has it; the first of several that are
    as new. It is this one or none: an older one is offered, never taken silently.

    Args:
        sources: where to look.
        wanted: what will be restored.
        choice: what was asked for.
        say: told what is done.

    Raises:
        HearthError: there is none that can be used; what is wrong, and what to type for the next older one.
    """
    problems: list[str] = []
    candidates = _candidates(sources, choice, problems)
    for number, snapshot in enumerate(candidates[:TRIES]):
        say(f"reading {snapshot}")
        try:
            proven = prove(snapshot, wanted)
        except DamagedError as error:
            problems.append(f"{snapshot} cannot be used: {error}")
            continue
        refusal = _refusal(proven, wanted, choice)
        if number == 0 and refusal is None:
            for problem in problems:
                say(problem)
            return proven
        offered = f"the next older one, of {shown(snapshot.time)} in {snapshot.source.name}, is whole"
        if refusal is None:
            take = f"--data date={shown(snapshot.time)} --data from={snapshot.source.key}"
            raise HearthError("restore", "; ".join(problems), f"{offered}: {take}")
        raise HearthError("restore", "; ".join([*problems, refusal[0]]), refusal[1])
    raise HearthError(
        "restore",
        "; ".join(problems) or "there is no backup" + (f" from before {choice.date}" if choice.date else ""),
        "look at each repository: hearth-backup restic local snapshots, on the guest that keeps it",
    )


def _candidates(sources: Sequence[Source], choice: Choice, problems: list[str]) -> list[Snapshot]:
    found: list[Snapshot] = []
    for source in sources:
        try:
            rows = snapshots(source)
        except (ResticError, OSError, ValueError) as error:
            problems.append(f"{source.name} cannot be read: {error}")
            continue
        fitting = [row for row in rows if choice.date is None or row.time <= choice.date]
        if not fitting:
            when = f" from before {shown(choice.date)}" if choice.date else ""
            problems.append(f"{source.name} has no backup{when}")
        found += fitting
    # A copy has its original's time, and restic's sort is ours: the first source first.
    return sorted(found, key=lambda snapshot: snapshot.time, reverse=True)


def _refusal(proven: Proven, wanted: Wanted, choice: Choice) -> tuple[str, str] | None:
    """Why a whole backup is not taken all the same, and what to type."""
    if proven.missing and not choice.accept_missing:
        return (
            f"{proven.snapshot} has nothing of {', '.join(proven.missing)}",
            "--data missing=accept goes on without; an older backup may have it: --data date=DAY",
        )
    if choice.date is not None:
        return None
    old = [
        f"{guest}/{piece.name} is of {piece.made}"
        for guest, names in wanted.items()
        for name in names
        if (piece := proven.manifests[guest].piece(name) if guest in proven.manifests else None)
        and piece.kept
        and choice.now - datetime.fromisoformat(piece.made) > choice.oldest
    ]
    if not old:
        return None
    days = choice.oldest / timedelta(days=1)
    return (
        f"{proven.snapshot} is too old, more than {days:g} days: {', '.join(old)}",
        f"--data date={shown(proven.snapshot.time)} takes it all the same",
    )

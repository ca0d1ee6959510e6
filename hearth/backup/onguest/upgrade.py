"""A role's data from before an upgrade: copied while its service rests, and back where the new version fails.

    /var/lib/hearth/upgrades/APP.json   between which releases, since when, of which folders
    FOLDER.upgrade/before               the folder as the old release left it
    FOLDER.upgrade/failed               what the new release made of it, where it was taken back

Copies are beside their folder, on the same disk: the way back is a few renames, takes no room, and can be cut
off and taken up at any point. They are no dumps: what a program that is broken already has written is saved
too, to the last byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .bring import EXTRACT
from .copying import CREATE
from .save import nothing_to_keep
from .stream import now, sync, write

PLACE = Path("/var/lib/hearth/upgrades")
SPARE = 64 << 20  # bytes that stay free beside a copy
STOPS = 300  # seconds


class UpgradeError(Exception):
    """The data cannot be kept: they are as they were."""


class HalfwayError(UpgradeError):
    """The data could not all be put back. No release may have them as they are."""


@dataclass(frozen=True)
class Kept:
    """The data of a program from before an upgrade.

    Args:
        app: the program.
        old: the release that they are of.
        new: the release that was tried with the folders themselves.
        at: when they were copied (UTC, ISO 8601).
        pieces: folder -> names below it that stay where they are.
        undoing: they are being put back: what is in the folders is of neither.
    """

    app: str
    old: str
    new: str
    at: str
    pieces: dict[str, list[str]]
    undoing: bool = False


@dataclass(frozen=True)
class Change:
    """Another release for a program.

    Args:
        app: the program.
        unit: its service.
        old: the release that last proved itself.
        new: the one that comes; the same where the old one is to run again.
        tried: the one that a run which was cut off had given the folders to; empty: none.
    """

    app: str
    unit: str
    old: str
    new: str
    tried: str = ""

    def breaks_off(self, kept: Kept) -> bool:
        """True where the folders were in the hands of a third release, which never proved itself."""
        return self.tried == kept.new and kept.old == self.old and self.tried not in (self.old, self.new)

    def goes_on(self, kept: Kept) -> bool:
        """True where the data were kept for this very change before it was cut off."""
        return self.tried == kept.new == self.new and kept.old == self.old


def keep(change: Change, entries: Iterable[Mapping[str, Any]]) -> str:
    """Have the data of a release kept before another one gets them. The service rests afterwards.

    Args:
        change: what changes.
        entries: of the settings: what its role keeps.

    Returns:
        What to tell; nothing where nothing was done.

    Raises:
        UpgradeError: nothing has changed, but that the service may rest.
        HalfwayError: the data are another release's, or half: what an earlier run had not ended did not end.
    """
    kept = _taken_up(change)
    if change.old == change.new or (kept and change.goes_on(kept)):
        return ""
    forget(change.app)
    wanted = {
        str(entry["path"]): [str(name) for name in entry.get("apart") or ()]
        for entry in entries
        if Path(entry["path"]).is_dir() and not nothing_to_keep(entry)
    }
    if not wanted:
        return ""
    _check(wanted)
    try:
        _stop(change.unit)
        for folder, apart in wanted.items():
            _copied(Path(folder), _place(folder) / "before", apart)
        _note(Kept(change.app, change.old, change.new, now(), wanted))
    except (OSError, subprocess.SubprocessError, UpgradeError) as error:
        for folder in wanted:
            shutil.rmtree(_place(folder), ignore_errors=True)
        raise UpgradeError(f"its data cannot be kept: {error}") from None
    return f"kept: {', '.join(str(_place(folder) / 'before') for folder in wanted)}"


def _taken_up(change: Change) -> Kept | None:
    """What is kept, once what an earlier run had not ended is ended; None: nothing that still counts."""
    try:
        kept = read(change.app)
        if kept is None or not (kept.undoing or change.breaks_off(kept)):
            return kept
        _stop(change.unit)
    except UpgradeError as error:
        if change.tried in ("", change.old):
            raise
        raise HalfwayError(str(error)) from None
    _undo(kept)
    return None


def undo(app: str, new: str) -> str:
    """Put the data from before an upgrade back. The service must rest.

    Args:
        app: the program.
        new: the release that failed; data from before another one stay where they are.

    Returns:
        What to tell; nothing where there was nothing to put back.

    Raises:
        HalfwayError: they are not back, or not all; the next call goes on. Both are kept.
    """
    kept = read(app)
    if kept is None or kept.new != new:
        return ""
    return _undo(kept)


def forget(app: str) -> None:
    """Remove what is kept of a program: the data from before, and what a release that failed had made."""
    kept = read(app)
    if kept is None:
        return
    _file(app).unlink()
    for folder in kept.pieces:
        shutil.rmtree(_place(folder), ignore_errors=True)


def read(app: str) -> Kept | None:
    """What is kept of a program; None: nothing, or nothing whole."""
    try:
        return Kept(**json.loads(_file(app).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise UpgradeError(
            f"{_file(app)} is damaged (move it away; what is kept is beside the data)"
        ) from None


def _undo(kept: Kept) -> str:
    try:
        if not kept.undoing:
            for folder in kept.pieces:
                shutil.rmtree(_place(folder) / "failed", ignore_errors=True)
            _note(replace(kept, undoing=True))
        for folder, apart in kept.pieces.items():
            _exchanged(Path(folder), apart)
        # From here on they are simply the data. What failed is noted, so that it goes in time.
        _note(replace(kept, undoing=False, new=kept.old))
    except OSError as error:
        places = ", ".join(str(_place(folder)) for folder in kept.pieces)
        raise HalfwayError(
            f"the data from before cannot be put back: {error} (they are in {places})"
        ) from None
    failed = ", ".join(str(_place(folder) / "failed") for folder in kept.pieces)
    return f"its data are back as they were at {kept.at}; what {kept.new} made of them: {failed}"


def _exchanged(folder: Path, apart: Iterable[str]) -> None:
    """The copy in the folder's place, by renames; each step finds out whether it was done before."""
    before, failed = _place(folder) / "before", _place(folder) / "failed"
    if before.exists():
        if folder.exists() and failed.exists():  # made anew since an earlier try (systemd's StateDirectory=)
            shutil.rmtree(folder)
        if folder.exists():
            folder.rename(failed)
        before.rename(folder)
    for name in apart:
        if (failed / name).exists() and not (folder / name).exists():
            (failed / name).rename(folder / name)
    sync(_place(folder))
    sync(folder.parent)


def _check(wanted: Mapping[str, Iterable[str]]) -> None:
    """Whether there is room; before anything is stopped."""
    for folder, apart in wanted.items():
        if os.path.ismount(folder):
            raise UpgradeError(
                f"{folder} is a disk of its own: it could not be exchanged (mount it one above)"
            )
        about = os.statvfs(Path(folder).parent)
        need, free = _size(folder, apart) + SPARE, about.f_bavail * about.f_frsize
        if need > free:
            mib = 1 << 20
            raise UpgradeError(
                f"a copy of {folder} takes {need // mib} MiB, and {free // mib} are free (make room)"
            )


def _size(folder: str, apart: Iterable[str]) -> int:
    out = {str(Path(folder) / name) for name in apart}
    total = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{place}/{name}" not in out]
        total += sum(os.lstat(f"{place}/{name}").st_blocks * 512 for name in (*folders, *files))
    return total


def _copied(folder: Path, target: Path, apart: Iterable[str]) -> None:
    """Copy a folder that rests: owners by number, xattrs, ACLs, holes."""
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(mode=0o700)
    target.mkdir()
    excludes = ["--anchored", "--no-wildcards", *(f"--exclude=./{name}" for name in apart)]
    create = [*CREATE, "--sparse", "--numeric-owner", *excludes, f"--directory={folder}", "."]
    extract = [*EXTRACT, "--numeric-owner", "--preserve-permissions", f"--directory={target}"]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(create, stdout=subprocess.PIPE, stderr=said) as source:
            done = subprocess.run(extract, stdin=source.stdout, stderr=said, check=False)
        said.seek(0)
        words = said.read().decode(errors="replace").strip()[-1000:]
    if source.returncode or done.returncode:
        raise UpgradeError(f"{folder}: {words}")
    synced = subprocess.run(["sync", "-f", str(target)], capture_output=True, check=False)
    if synced.returncode:
        raise UpgradeError(f"{target}: {synced.stderr.decode(errors='replace').strip()}")


def _note(kept: Kept) -> None:
    PLACE.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(_file(kept.app), (json.dumps(asdict(kept), indent=1) + "\n").encode())


def _file(app: str) -> Path:
    return PLACE / f"{app}.json"


def _place(folder: Path | str) -> Path:
    return Path(f"{folder}.upgrade")


def _stop(unit: str) -> None:
    done = subprocess.run(["systemctl", "stop", unit], capture_output=True, timeout=STOPS, check=False)
    active = subprocess.run(["systemctl", "is-active", "--quiet", unit], capture_output=True, check=False)
    if active.returncode == 0:
        raise UpgradeError(f"{unit} cannot be stopped: {done.stderr.decode(errors='replace').strip()}")

"""A consistent copy of a folder that is in use: files by GNU tar, databases by SQLite itself.

tar keeps owners by name and number, xattrs and ACLs (tar(1)). An open database is not a file that may be
copied: https://www.sqlite.org/backup.html.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAGIC = b"SQLite format 3\x00"  # sqlite.org/fileformat2.html, 1.3.1
PYTHON = "/usr/bin/python3"
BESIDE = ("-wal", "-shm", "-journal")
CREATE = ("tar", "--create", "--file=-", "--xattrs", "--acls", "--warning=no-file-ignored")


class CopyError(Exception):
    """A folder cannot be copied."""


@contextlib.contextmanager
def tar_of(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running tar that writes the folder to its stdout, and the folder of scratch that goes afterwards.

    Raises:
        CopyError: there is no folder, or a database in it cannot be copied.
    """
    if not folder.is_dir():
        raise CopyError(f"there is no {folder}")
    # Beside the folder: what is in it is on that disk already.
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.dump.", dir=folder.parent))
    scratch.chmod(0o711)
    try:
        copies = scratch / "copies"
        left_out = _databases(folder, copies)
        # Excludes count for what follows them only: the copies come first.
        first = [f"--directory={copies}", *sorted(name for name, copied in left_out.items() if copied)]
        excludes = ["--anchored", "--no-wildcards", *(f"--exclude=./{name}" for name in sorted(left_out))]
        command = [*CREATE, *(first if copies.exists() else ()), *excludes, f"--directory={folder}", "."]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            yield process, scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _databases(folder: Path, copies: Path) -> dict[str, bool]:
    """The names, below the folder, of what tar must not read: databases (True) and what is beside them."""
    found: dict[str, bool] = {}
    for path in sorted(folder.rglob("*")):
        if not _is_database(path):
            continue
        name = str(path.relative_to(folder))
        target = copies / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, target, copies.parent / "work")
        found[name] = True
        found |= {name + suffix: False for suffix in BESIDE}
    return found


def _is_database(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:  # gone meanwhile
        return False


def _copy(path: Path, target: Path, work: Path) -> None:
    """Copy a database; `work` is the owner's for the time: SQLite makes files beside the copy too."""
    about = path.stat()
    work.mkdir(mode=0o700)
    os.chown(work, about.st_uid, about.st_gid)
    problem = _as_owner(about.st_uid, about.st_gid, path, work / "copy")
    if not problem:
        (work / "copy").rename(target)
    shutil.rmtree(work)
    if problem:
        raise CopyError(f"{path} cannot be copied: {problem}")
    target.chmod(stat.S_IMODE(about.st_mode))
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))


def _as_owner(uid: int, gid: int, path: Path, target: Path) -> str:
    """Copy with the owner's rights: what SQLite makes beside the database stays the owner's."""
    whose: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        # Given as text: the owner need not be able to read this file.
        [PYTHON, "-I", "-c", Path(__file__).read_text(), str(path), str(target)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **whose,
    )
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.split())[-400:] or f"exit code {done.returncode}"


def backup(path: Path, target: Path) -> str:
    """SQLite's online backup of a database; why the copy is no good, or nothing."""
    source = sqlite3.connect(path, timeout=30)
    copy = sqlite3.connect(target)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        found = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(5)")]
        return "" if found == ["ok"] else f"it is damaged: {'; '.join(found)}"
    finally:
        source.close()
        copy.close()


if __name__ == "__main__":
    try:
        sys.exit(backup(Path(sys.argv[1]), Path(sys.argv[2])) or 0)
    except sqlite3.Error as failure:
        sys.exit(str(failure))

"""Put the state of a stream in place of what is there, which is kept aside.

Nothing is touched before the whole stream has arrived and every piece is what its manifest says.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .save import nothing_to_keep
from .stream import Manifest, StreamError, receive, sync

EXTRACT = ("tar", "--extract", "--file=-", "--xattrs", "--xattrs-include=*", "--acls", "--same-owner")
Say = Callable[[str], None]


class RestoreError(Exception):
    """A role's state is not back."""


def bring(
    entries: Iterable[Mapping[str, Any]], stream: BinaryIO, spool: Path, say: Say, roles: Iterable[str] = ()
) -> list[str]:
    """Restore the pieces of a stream.

    Args:
        entries: of the settings: name, role, path, and what the role says of it (restore, unless, units).
        stream: the stream.
        spool: a folder for it until it is whole; made, and emptied.
        say: told what is done.
        roles: only these; none: all that the stream has.

    Returns:
        The names of the pieces that are back.

    Raises:
        StreamError: the stream is not whole. Nothing was touched.
        RestoreError: a piece cannot be put back; the state there is as it was. Earlier ones are back.
    """
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700, parents=True)
    try:
        manifest = receive(stream, spool)
        wanted = [entry for entry in entries if not roles or entry["role"] in set(roles)]
        missing = [role for role in roles if role not in {entry["role"] for entry in wanted}]
        if missing:
            raise StreamError(f"this guest has no role {', '.join(missing)} with a state")
        return [entry["name"] for entry in wanted if _one(entry, manifest, spool, say)]
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _one(entry: Mapping[str, Any], manifest: Manifest, spool: Path, say: Say) -> bool:
    piece = manifest.piece(entry["name"])
    if piece is None or not piece.kept:
        return False
    if nothing_to_keep(entry):
        say(f"{piece.name}: not for this guest")
        return False
    with (spool / piece.name).open("rb") as content:
        if piece.how == "command":
            _by_command(entry, content)
        else:
            _by_files(entry, content)
    say(f"{piece.name}: back, as of {piece.made}")
    return True


def _by_command(entry: Mapping[str, Any], content: BinaryIO) -> None:
    command = entry.get("restore")
    if not command:
        raise RestoreError(f"{entry['name']}: its role cannot read what it once wrote (an older Hearth can)")
    done = subprocess.run(["sh", "-c", command], stdin=content, capture_output=True, check=False)
    if done.returncode:
        raise RestoreError(f"{entry['name']}: {_words(done)}")


def _by_files(entry: Mapping[str, Any], content: BinaryIO) -> None:
    folder = Path(entry["path"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f"{folder.name}.restore.", dir=folder.parent))
    try:
        done = subprocess.run(
            [*EXTRACT, f"--directory={new}"], stdin=content, capture_output=True, check=False
        )
        if done.returncode:
            raise RestoreError(f"{entry['name']}: its tar cannot be unpacked: {_words(done)}")
        subprocess.run(["sync", "-f", str(new)], check=False)
        exchange(folder, new, tuple(entry.get("units") or ()), entry["name"])
    finally:
        shutil.rmtree(new, ignore_errors=True)


def exchange(folder: Path, new: Path, units: tuple[str, ...], name: str) -> None:
    """Put a folder in the place of another one while its services rest; back, where one does not start.

    Raises:
        RestoreError: the folder is as it was.
    """
    ran = [unit for unit in units if _systemctl("is-active", "--quiet", unit)]
    for unit in ran:
        if not _systemctl("stop", unit):
            raise RestoreError(f"{name}: {unit} cannot be stopped")
    aside = folder.with_name(f"{folder.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    there = folder.exists()
    if there:
        folder.rename(aside)
    new.rename(folder)
    sync(folder.parent)
    refused = [unit for unit in ran if not _systemctl("start", unit)]
    if refused:
        for unit in ran:
            _systemctl("stop", unit)
        folder.rename(new)
        if there:
            aside.rename(folder)
        for unit in ran:
            _systemctl("start", unit)
        raise RestoreError(f"{name}: {', '.join(refused)} does not start with it; all is as it was")
    for older in folder.parent.glob(f"{folder.name}.before-*"):
        if older != aside:
            with contextlib.suppress(OSError):
                shutil.rmtree(older)


def _systemctl(*words: str) -> bool:
    return subprocess.run(["systemctl", *words], capture_output=True, check=False).returncode == 0


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip()[-2000:] or f"exit code {done.returncode}"

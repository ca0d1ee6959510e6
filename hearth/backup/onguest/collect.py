"""Fetch the state of every guest into a folder that always holds the newest whole one of each.

What comes in goes aside first; a piece that fails leaves the one from before in its place, with its own date.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from .restic import last_words
from .stream import MANIFEST, Manifest, Piece, StreamError, read_manifest, receive, sync, write


@dataclass(frozen=True)
class Result:
    """What became of one guest.

    Args:
        guest: its name.
        errors: what went wrong, by the piece's name; "" is the guest as a whole.
        manifest: what is kept of it now; None: nothing.
    """

    guest: str
    errors: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Way:
    """How guests are reached.

    Args:
        user, key, known_hosts: for ssh(1).
        seconds: that a guest may take in all.
    """

    user: str
    key: Path
    known_hosts: Path
    seconds: int

    def command(self, guest: Mapping[str, Any]) -> list[str]:
        """The command that writes a guest's stream; what runs there is the key's own (authorized_keys)."""
        options = {
            "BatchMode": "yes",
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "30",
            "LogLevel": "ERROR",
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        port, who = str(guest.get("port", 22)), f"{self.user}@{guest['address']}"
        return ["ssh", "-F", "/dev/null", "-T", "-p", port, *words, who]


def collect(guests: Sequence[Mapping[str, Any]], way: Way, kept: Path, at_once: int) -> list[Result]:
    """Fetch the states of all guests; those that are no guests any more go.

    Args:
        guests: name and address of each.
        way: how they are reached.
        kept: the folder; below it each guest has one.
        at_once: how many are fetched at a time.
    """
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    mend(kept)
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        results = list(pool.map(lambda guest: fetch(guest, way, kept), guests))
    for folder in kept.iterdir():
        if folder.name not in {guest["name"] for guest in guests}:
            shutil.rmtree(folder)
    return results


def mend(kept: Path) -> None:
    """Complete what a run that was killed left: an exchange half done, and what never became whole."""
    for folder in kept.glob(".*.old"):
        place = kept / folder.name[1 : -len(".old")]
        if place.exists():
            shutil.rmtree(folder)
        else:
            folder.rename(place)
    for folder in kept.glob(".*.new"):
        shutil.rmtree(folder)


def fetch(guest: Mapping[str, Any], way: Way, kept: Path) -> Result:
    """Fetch one guest's state."""
    name = str(guest["name"])
    place, new = kept / name, kept / f".{name}.new"
    before = kept_manifest(place)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    try:
        manifest = _received(way.command(guest), new, way.seconds)
        if manifest.guest != name:
            raise StreamError(f"it says that it is {manifest.guest}")
        merged = _with_older(manifest, before, place, new)
        write(new / MANIFEST, merged.text().encode())
        _exchange(place, new)
    except (StreamError, OSError) as error:
        shutil.rmtree(new, ignore_errors=True)
        return Result(name, {"": str(error)}, before)
    failed = {piece.name: piece.error for piece in manifest.pieces if piece.error}
    return Result(name, failed, merged)


def kept_manifest(place: Path) -> Manifest | None:
    """The manifest of what is kept of a guest; None: nothing whole."""
    try:
        return read_manifest((place / MANIFEST).read_bytes())
    except (OSError, StreamError):
        return None


def _received(command: Sequence[str], folder: Path, seconds: int) -> Manifest:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        words: list[bytes] = []
        errors = process.stderr
        listener = threading.Thread(target=lambda: words.append(errors.read()), daemon=True)
        listener.start()
        late = threading.Timer(seconds, process.kill)
        late.start()
        try:
            manifest = receive(cast(BinaryIO, process.stdout), folder)
            process.stdout.read()
        except (StreamError, OSError) as error:
            process.kill()
            listener.join()
            overdue = "" if late.is_alive() else f"it took longer than {seconds} seconds; "
            said = last_words(b"".join(words).decode(errors="replace"))
            raise StreamError(overdue + (f"{error}: {said}" if said else str(error))) from None
        finally:
            late.cancel()
        code = process.wait()
        listener.join()
    if code:
        raise StreamError(last_words(b"".join(words).decode(errors="replace")) or f"ssh ended with {code}")
    return manifest


def _with_older(manifest: Manifest, before: Manifest | None, place: Path, new: Path) -> Manifest:
    """The manifest of what is kept: for a piece that failed, the one from before."""
    pieces: list[Piece] = []
    for piece in manifest.pieces:
        older = before.piece(piece.name) if before else None
        if piece.error is None:
            pieces.append(piece)
        elif older is not None and older.kept and (place / older.name).is_file():
            (new / older.name).hardlink_to(place / older.name)
            pieces.append(older)
    return replace(manifest, pieces=tuple(pieces))


def _exchange(place: Path, new: Path) -> None:
    old = place.with_name(f".{place.name}.old")
    sync(new)
    if place.exists():
        place.rename(old)
    new.rename(place)
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)

"""Write the state of this guest's roles as one stream. A role that fails keeps no other from being in it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from .copying import CopyError, tar_of
from .stream import Manifest, Piece, Writer, now

BEFORE = 900  # seconds that a role may take to make its files ready
SAID = 2000  # characters of what a command says that are kept
CHANGED = 1  # tar's exit code where a file changed while it was read: an append, or one that went


def save(guest: str, entries: Iterable[Mapping[str, Any]], out: BinaryIO) -> Manifest:
    """Write the stream.

    Args:
        guest: this guest's name.
        entries: of the settings: name, role, path, and what the role says of it (dump, before, unless).
        out: where to.

    Returns:
        The manifest; a piece that failed has its error there.
    """
    writer = Writer(out, guest)
    for entry in entries:
        writer.note(_piece(writer, entry))
    return writer.end()


def nothing_to_keep(entry: Mapping[str, Any]) -> bool:
    """True where the role itself says that there is nothing on this guest (a replica)."""
    unless = entry.get("unless")
    return bool(unless) and _shell(str(unless), BEFORE).returncode == 0


def _piece(writer: Writer, entry: Mapping[str, Any]) -> Piece:
    how = "command" if entry.get("dump") else "files"
    piece = Piece(entry["name"], entry["role"], entry["path"], how, made=now())
    try:
        if nothing_to_keep(entry):
            return replace(piece, how="none")
        if entry.get("before"):
            done = _shell(entry["before"], BEFORE)
            if done.returncode:
                return replace(piece, error=_words(done.stderr) or f"exit code {done.returncode}")
        return _command(writer, piece, entry["dump"]) if entry.get("dump") else _files(writer, piece)
    except (CopyError, OSError, subprocess.TimeoutExpired) as error:
        return replace(piece, error=str(error))


def _command(writer: Writer, piece: Piece, command: str) -> Piece:
    with subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        return _drained(writer, piece, process, least=1)


def _files(writer: Writer, piece: Piece) -> Piece:
    with tar_of(Path(piece.path)) as (process, _):
        return _drained(writer, piece, process, worst=CHANGED)


def _drained(
    writer: Writer, piece: Piece, process: subprocess.Popen[bytes], worst: int = 0, least: int = 0
) -> Piece:
    """All that a process writes as a piece; an exit code above `worst` is an error."""
    assert process.stdout is not None and process.stderr is not None
    words: list[bytes] = []
    errors = process.stderr
    listener = threading.Thread(target=lambda: words.append(errors.read()), daemon=True)
    listener.start()
    found = writer.add(piece, process.stdout)
    code = process.wait()
    listener.join()
    said = _words(b"".join(words))
    if code > worst or code < 0:
        return replace(found, error=said or f"exit code {code}", said=said)
    if found.size < least:
        return replace(found, error="it wrote nothing", said=said)
    return replace(found, said=said)


def _shell(command: str, seconds: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=seconds,
        check=False,
    )


def _words(said: bytes) -> str:
    return said.decode(errors="replace").strip()[-SAID:]

"""The state of a guest as one stream: a tar of pieces in chunks, and last a manifest with sizes and hashes.

A stream without its manifest, or whose pieces are not what the manifest says, is not there at all. By hand:
`tar -xOf STREAM --wildcards 'mosquitto-0/*'` gives a piece, most of which are a tar again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

FORMAT = 1
CHUNK = 1 << 20
MANIFEST = "manifest.json"
NAME = re.compile(r"[a-z][a-z0-9_]*-[0-9]+")
LARGEST_MANIFEST = 1 << 20


class StreamError(Exception):
    """A stream that is not whole, or whose pieces are not what they should be."""


class Readable(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Piece:
    """The state of a role below one path.

    Args:
        name: ROLE-NUMBER.
        role: the role's name.
        path: the path it belongs to.
        how: "files", a tar of them; "command", what the role's own command wrote; "none": there is nothing
            to keep on this guest.
        size: bytes.
        sha256: of its bytes.
        error: why it is not whole; None where it is.
        said: what was said while it was made, for the admin.
        made: when it was begun (UTC, ISO 8601): all of it is at least as new.
    """

    name: str
    role: str
    path: str
    how: str
    size: int = 0
    sha256: str = ""
    error: str | None = None
    said: str = ""
    made: str = ""

    @property
    def kept(self) -> bool:
        """True where there are bytes of it."""
        return self.error is None and self.how != "none"


@dataclass(frozen=True)
class Manifest:
    """What is in a stream.

    Args:
        guest: whose state it is.
        began: when the first piece was begun (UTC, ISO 8601).
        ended: when the last one was done.
        pieces: every piece, failed ones too.
    """

    guest: str
    began: str
    ended: str
    pieces: tuple[Piece, ...]

    def piece(self, name: str) -> Piece | None:
        """The piece of this name."""
        return next((piece for piece in self.pieces if piece.name == name), None)

    def text(self) -> str:
        """The manifest as it is kept."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"


def read_manifest(text: str | bytes) -> Manifest:
    """A manifest from its text.

    Raises:
        StreamError: it is none, or of a later format.
    """
    try:
        body: dict[str, Any] = json.loads(text)
        if body.pop("format") != FORMAT:
            raise StreamError("its manifest is of another format: a newer Hearth wrote it")
        pieces = tuple(Piece(**piece) for piece in body.pop("pieces"))
        found = Manifest(**body, pieces=pieces)
        for moment in (found.began, *(piece.made for piece in pieces)):
            datetime.fromisoformat(moment)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StreamError("its manifest is damaged") from None
    if not all(NAME.fullmatch(piece.name) for piece in pieces):
        raise StreamError("its manifest names what is no piece")
    return found


def now() -> str:
    """The time, as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Writer:
    """Writes a stream.

    Args:
        out: where to.
        guest: whose state it is.
    """

    def __init__(self, out: BinaryIO, guest: str) -> None:
        self._tar = tarfile.open(  # noqa: SIM115  closed by `end`, and by nobody where it is to stay half
            fileobj=out, mode="w|", bufsize=CHUNK, format=tarfile.USTAR_FORMAT
        )
        self._guest, self._began = guest, now()
        self.pieces: list[Piece] = []

    def add(self, piece: Piece, source: Readable) -> Piece:
        """Write a piece's bytes until they end; the piece with its size and hash.

        It is not in the manifest before `note` was called: whoever gave the bytes may have failed.
        """
        digest, size = hashlib.sha256(), 0
        for number in range(10**8):
            chunk = read_full(source, CHUNK)
            if not chunk:
                break
            digest.update(chunk)
            size += len(chunk)
            self._member(f"{piece.name}/{number:08d}", chunk)
        return replace(piece, size=size, sha256=digest.hexdigest())

    def note(self, piece: Piece) -> None:
        """Have a piece in the manifest."""
        self.pieces.append(piece)

    def end(self) -> Manifest:
        """Write the manifest: now the stream is whole."""
        manifest = Manifest(self._guest, self._began, now(), tuple(self.pieces))
        self._member(MANIFEST, manifest.text().encode())
        self._tar.close()
        return manifest

    def drop(self) -> None:
        """Leave the stream half, for good: nothing more is written, not even what still waits."""
        stream: Any = self._tar.fileobj
        stream.closed = True

    def _member(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o600
        self._tar.addfile(member, io.BytesIO(content))


def read_full(source: Readable, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a pipe gives what it has."""
    parts: list[bytes] = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(stream: BinaryIO, folder: Path) -> Manifest:
    """Read a stream into a folder, a file for each piece; the manifest's file is written last, and durably.

    Args:
        stream: where from.
        folder: an empty one.

    Raises:
        StreamError: the stream is not whole, or a piece is not what the manifest says.
        OSError: the folder cannot be written.
    """
    digests: dict[str, Any] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                if manifest is not None:
                    raise StreamError("something follows its manifest")
                content = _content(tar, member)
                if member.name == MANIFEST:
                    manifest = read_manifest(content)
                else:
                    _keep(folder, member.name, content, digests)
    except (tarfile.TarError, EOFError) as error:
        raise StreamError(f"it breaks off, or is no stream of states ({error})") from None
    if manifest is None:
        raise StreamError("it breaks off before its manifest")
    _compare(manifest, folder, digests)
    write(folder / MANIFEST, manifest.text().encode())
    sync(folder)
    return manifest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg() or member.size > max(CHUNK, LARGEST_MANIFEST):
        raise StreamError(f"it holds {member.name!r}, which is no chunk")
    source = tar.extractfile(member)
    content = source.read() if source else b""
    if len(content) != member.size:
        raise StreamError("it breaks off in the middle")
    return content


def _keep(folder: Path, name: str, content: bytes, digests: dict[str, Any]) -> None:
    piece, _, number = name.partition("/")
    if not NAME.fullmatch(piece) or not number.isdigit():
        raise StreamError(f"it holds {name!r}, which is no chunk")
    digest, size, following = digests.get(piece) or (hashlib.sha256(), 0, 0)
    if int(number) != following:
        raise StreamError(f"chunk {following} of {piece} is missing")
    digest.update(content)
    digests[piece] = digest, size + len(content), following + 1
    with (folder / piece).open("ab") as file:
        file.write(content)


def _compare(manifest: Manifest, folder: Path, digests: Mapping[str, Any]) -> None:
    for piece in manifest.pieces:
        digest, size, _ = digests.get(piece.name) or (hashlib.sha256(), 0, 0)
        if piece.kept and (size, digest.hexdigest()) != (piece.size, piece.sha256):
            raise StreamError(f"{piece.name} is not what its manifest says")
        if piece.kept:
            with (folder / piece.name).open("ab") as file:  # an empty piece has had no chunk
                os.fsync(file.fileno())
        else:
            (folder / piece.name).unlink(missing_ok=True)
    for name in digests:
        if manifest.piece(name) is None:
            raise StreamError(f"{name} is not in its manifest")


def write(path: Path, content: bytes) -> None:
    """A file that is either the old one or the new one, on disk before this returns."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Have a folder's entries on disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

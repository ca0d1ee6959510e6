"""Programs that come ready made: a file by URL and SHA-256, or one of the machine that deploys.

Each becomes a release (hearth.ops.release). An archive is unpacked without its first folder; anything else is
the program itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from hearth.errors import HearthError
from hearth.ops import release
from hearth.ops.runtime import X64

PACKAGES = ("ca-certificates", "curl")
ARCHIVES = (".tgz", ".tar.gz")
WITHIN = 600  # seconds
PARCEL = "program"


@dataclass(frozen=True)
class Source:
    """Where a program comes from.

    Args:
        label: for people: a part of the release's name.
        sha256: hex digest of the file.
        url: where it is fetched; empty where the deploying machine has it.
        content: the file, where the deploying machine has it.
        archive: it is a gzipped tar.
    """

    label: str
    sha256: str
    url: str = ""
    content: bytes = field(default=b"", repr=False)
    archive: bool = False

    def script(self, program: str, proof: str) -> str:
        """What builds the release: fetched, checked, unpacked, and asked for its version.

        Args:
            program: the file's name in the release, where it is no archive.
            proof: a command that must succeed in the release's folder.
        """
        fetch = (
            f'curl -sSfL --retry 3 --connect-timeout 20 -o "$TMPDIR/it" {shlex.quote(self.url)}'
            if self.url
            else f'cp "$SOURCES/{PARCEL}" "$TMPDIR/it"'
        )
        unpack = (
            'tar -xzf "$TMPDIR/it" --strip-components=1 --no-same-owner -C .'
            if self.archive
            else f'install -m 755 "$TMPDIR/it" {shlex.quote(program)}'
        )
        check = f'echo "{self.sha256}  $TMPDIR/it" | sha256sum -c --quiet'
        return "\n".join([X64, fetch, check, unpack, proof])

    @property
    def parcels(self) -> tuple[release.Parcel, ...]:
        """What the build gets from here."""
        return () if self.url else (release.Parcel(PARCEL, self.content),)


def chosen(value: Any, named: str) -> Source:
    """A program's source as group_data has it.

    Args:
        value: {"url": ..., "sha256": ...}, or {"path": ...}: a file of the machine that deploys.
        named: the value's name.

    Raises:
        HearthError: it is neither, a hash is none, or the file cannot be read.
    """
    given = dict(value) if isinstance(value, Mapping) else {}
    if set(given) == {"url", "sha256"} and re.match(r"https?://\S+$", str(given["url"])):
        if not re.fullmatch(r"[0-9a-f]{64}", str(given["sha256"])):
            raise _mistake(named, f"sha256 is {given['sha256']!r}", "write 64 hexadecimal digits")
        url = str(given["url"])
        label = url.rsplit("/", 1)[-1]
        return Source(label, str(given["sha256"]), url=url, archive=url.endswith(ARCHIVES))
    if set(given) == {"path"}:
        path = Path(str(given["path"]))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _mistake(named, str(error), "name a file of this machine") from error
        digest = sha256(content).hexdigest()
        return Source(path.name, digest, content=content, archive=path.name.endswith(ARCHIVES))
    raise _mistake(
        named, f"it is {value!r}", 'write {"url": ..., "sha256": ...} or {"path": "/a/file/of/this/machine"}'
    )


def _mistake(named: str, reason: str, remedy: str) -> HearthError:
    return HearthError(f"use {named}", reason, remedy)


def ident(source: Source, program: str, proof: str) -> str:
    """The release's name; see `Source.script`."""
    return release.ident_of(source.label, source.script(program, proof))


@operation()
def program(app: str, source: Source, program: str, proof: str) -> Generator[PyinfraCommand, None, None]:
    """
    The program as a release: `release.path_of(app, ident(source, program, proof))`. The guest needs PACKAGES.

    + app: the release's program, a folder's name
    + source: see `chosen`
    + program: the file's name in the release, where it is no archive
    + proof: a command that must succeed in the release's folder

    **Example:**

    .. code:: python

        fetched.program(
            name="Take headscale", app="headscale", source=source, program="headscale",
            proof="./headscale version",
        )
    """
    yield from release.built._inner(
        app,
        ident(source, program, proof),
        source.script(program, proof),
        parcels=source.parcels,
        within=WITHIN,
    )

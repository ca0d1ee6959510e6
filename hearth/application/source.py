"""Where an application comes from, as group_data declares it: a folder, a Git repository, or a package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from hearth.errors import HearthError

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# git-check-ref-format(1), narrowed to what needs no thought: no `..`, no leading `-` or `/`, no `@{`.
REV = re.compile(r"(?!.*(\.\.|//|/\.|\.lock(/|$)|[/.]$))[A-Za-z0-9_][A-Za-z0-9_./+-]{0,199}")
URL = re.compile(r"(https?|git|ssh|file)://[^\s'\"]+")
# npm's "name" rules (docs.npmjs.com, package.json) and PyPI's (PEP 508), each a subset that both quoting and
# file names survive.
PACKAGE = {
    "node": re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]{0,200}"),
    "python": re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,200}[A-Za-z0-9])?"),
}
VERSION = re.compile(r"\d[0-9A-Za-z.+-]{0,100}")
KINDS = ("path", "git", "package")
KEYS = {
    "path": {"path"},
    "git": {"git", "rev", "folder"},
    "package": {"package", "version", "lock", "registry"},
}


@dataclass(frozen=True)
class PathSource:
    """A folder of the machine that deploys.

    Args:
        folder: it, absolute.
    """

    folder: Path


@dataclass(frozen=True)
class GitSource:
    """A commit of a Git repository that the guest can reach.

    Args:
        url: https, http, ssh, git or file.
        rev: a whole commit, or a tag.
        folder: where in the repository the project is; "" for its root.
    """

    url: str
    rev: str
    folder: str = ""

    @property
    def is_commit(self) -> bool:
        """True where `rev` can never mean anything else."""
        return bool(COMMIT.fullmatch(self.rev))


@dataclass(frozen=True)
class PackageSource:
    """A version of a package of the runtime's registry (npm, PyPI).

    Args:
        name: the package.
        version: one version, no range.
        lock: a lock file of this machine, which pins what the package needs; None: it does so itself or not.
        registry: the registry's URL (an npm registry, a PyPI index); "" for the public one.
    """

    name: str
    version: str
    lock: Path | None = None
    registry: str = ""


Source = PathSource | GitSource | PackageSource


@dataclass(frozen=True)
class Declared:
    """A value of group_data, for naming it in errors.

    Args:
        role: the role's name.
        name: the value's whole name, e.g. "mcp_hub_source".
    """

    role: str
    name: str

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        """Raise the error that names file and value."""
        raise HearthError(f"read {self.name} of group_data/{self.role}.py", reason, remedy)


def read_source(declared: Declared, value: Any, runtime: str, project: Path) -> Source:
    """The source that a value of group_data declares.

    Args:
        declared: the value's name.
        value: {"path": FOLDER}, {"git": URL, "rev": COMMIT or TAG, "folder": FOLDER}, or
            {"package": NAME, "version": VERSION, "lock": FILE, "registry": URL}; "folder", "lock" and
            "registry" may be missing.
        runtime: "node" or "python".
        project: what a relative path is relative to.

    Raises:
        HearthError: it says something else; file, value and remedy are named.
    """
    if not isinstance(value, Mapping):
        declared.refuse(f"it is {value!r}", 'write e.g. {"path": "apps/mcp_hub"}')
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1:
        has = " and ".join(kinds) if kinds else "neither"
        declared.refuse(f"it has {has} of path, git and package", "write exactly one of them")
    kind = kinds[0]
    for key in value:
        if key not in KEYS[kind]:
            declared.refuse(f"{kind} has no key {key!r}", f"use {', '.join(sorted(KEYS[kind]))}")
        if not isinstance(value[key], str) or not value[key]:
            declared.refuse(f"{key} is {value[key]!r}", "write a text")
    if kind == "path":
        return PathSource(_folder(declared, value["path"], runtime, project))
    if kind == "git":
        return _git(declared, value)
    return _package(declared, value, runtime, project)


def _folder(declared: Declared, text: str, runtime: str, project: Path) -> Path:
    folder = project / text
    if not folder.is_dir():
        declared.refuse(f"there is no folder {folder}", "write a folder, relative to the project's own")
    needed = ["package.json", "package-lock.json"] if runtime == "node" else ["pyproject.toml"]
    for name in needed:
        if not (folder / name).is_file():
            remedy = "npm install --package-lock-only" if name == "package-lock.json" else f"add {name}"
            declared.refuse(f"{folder} has no {name}", remedy)
    return folder.resolve()


def _git(declared: Declared, value: Mapping[str, str]) -> GitSource:
    url, rev = value["git"], value.get("rev")
    if not URL.fullmatch(url):
        declared.refuse(f"git is {url!r}", "write a URL, e.g. https://github.com/me/my-hub.git")
    if re.match(r"[a-z]+://[^/@]*:[^/@]*@", url):
        declared.refuse("git holds a password", "it would lie open in this file: use a read-only mirror")
    if rev is None:
        declared.refuse("git has no rev", "write a whole commit, or a tag: nothing else stays what it is")
    if not REV.fullmatch(rev):
        declared.refuse(f"rev is {rev!r}", "write a whole commit (40 hexadecimal digits) or a tag")
    folder = value.get("folder", "")
    if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
        declared.refuse(f"folder is {folder!r}", "write a folder inside the repository")
    return GitSource(url, rev, "" if folder in ("", ".") else str(PurePosixPath(folder)))


def _package(declared: Declared, value: Mapping[str, str], runtime: str, project: Path) -> PackageSource:
    name, version = value["package"], value.get("version")
    if not PACKAGE[runtime].fullmatch(name):
        registry = {"node": "npm", "python": "PyPI"}[runtime]
        declared.refuse(f"package is {name!r}", f"write the name of a package of {registry}")
    if version is None or not VERSION.fullmatch(version):
        declared.refuse(f"version is {version!r}", "write one version, e.g. 1.2.3: no range, no `latest`")
    registry = value.get("registry", "")
    if registry and not re.fullmatch(r"https?://[^\s'\"@]+", registry):
        declared.refuse(f"registry is {registry!r}", "write its URL, without a user or password")
    if "lock" not in value:
        return PackageSource(name, version, None, registry)
    lock = project / value["lock"]
    if not lock.is_file():
        declared.refuse(f"there is no file {lock}", "write the lock file's path, relative to the project")
    return PackageSource(name, version, lock, registry)

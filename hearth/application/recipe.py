"""How an application is built from its source: by its lock file, in the release's own folder."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Protocol

from hearth.application.archive import pack
from hearth.application.source import GitSource, PackageSource, PathSource, Source
from hearth.errors import HearthError
from hearth.ops.release import Parcel, ident_of

NPM = "--no-audit --no-fund --no-update-notifier --loglevel=error"
BUILD = {
    # Development dependencies (a compiler) are there for the build and gone afterwards.
    "node": "\n".join(
        [
            "[ -f package-lock.json ] || "
            "{ echo 'the project has no package-lock.json (npm install --package-lock-only)'; exit 1; }",
            f"npm ci {NPM}",
            "npm run build --if-present",
            f"npm prune --omit=dev {NPM}",
        ]
    ),
    "python": "\n".join(
        [
            'if [ -f uv.lock ]; then uv sync --quiet --python "$PYTHON" --frozen --no-dev --no-editable',
            "elif [ -f requirements.lock ]; then",
            '  uv venv --quiet --python "$PYTHON" .venv',
            "  uv pip install --quiet --require-hashes -r requirements.lock",
            "  uv pip install --quiet --no-deps .",
            "else echo 'the project has neither uv.lock (uv lock) nor requirements.lock "
            "(uv pip compile --generate-hashes -o requirements.lock pyproject.toml)'; exit 1",
            "fi",
        ]
    ),
}


class Runtime(Protocol):
    """What runs a program and builds it (`hearth.ops.runtime.Node`, `Uv`)."""

    @property
    def path(self) -> str: ...


@dataclass(frozen=True)
class Recipe:
    """What `release.built` needs for an application.

    Args:
        ident: the release's name.
        script: the build.
        parcels: the files that it gets from the machine that deploys.
        packages: Debian packages that it takes besides the runtime's.
    """

    ident: str
    script: str
    parcels: tuple[Parcel, ...] = ()
    packages: tuple[str, ...] = ()


def recipe(
    source: Source, runtime: str, pin: Runtime, *, build: str | None = None, python: str = ""
) -> Recipe:
    """How a source is built.

    Args:
        source: where it comes from.
        runtime: "node" or "python".
        pin: the runtime; part of the release's name, since native modules depend on it.
        build: a shell script instead of the runtime's own for a project (`BUILD`).
        python: for "python": the interpreter's path, or a version that uv fetches.

    Raises:
        HearthError: the source cannot be read on this machine.
    """
    tools = _tools(runtime, pin, python)
    if isinstance(source, PackageSource):
        return _of_package(source, runtime, pin, tools)
    made = build if build is not None else BUILD[runtime]
    if isinstance(source, PathSource):
        content = pack(source.folder)
        script = f'{tools}\ntar -xf "$SOURCES/source.tar" --no-same-owner\n{made}'
        return Recipe(ident_of("path", script, content), script, (Parcel("source.tar", content),))
    script = f"{tools}\n{_checkout(source)}\n{made}"
    label = source.rev[:12] if source.is_commit else source.rev
    return Recipe(ident_of(label, script), script, packages=("git",))


def _tools(runtime: str, pin: Runtime, python: str) -> str:
    lines = [f'export PATH={pin.path}/bin:"$PATH"']
    if runtime == "python":
        # Bytecode now: nobody may write into a release later. A Python that uv fetches stays in it.
        lines.append(f"export PYTHON={shlex.quote(python)} UV_COMPILE_BYTECODE=1")
        lines.append('export UV_PYTHON_INSTALL_DIR="$RELEASE/.python"')
    return "\n".join(lines)


def _checkout(source: GitSource) -> str:
    """Bring the commit's files here. A tag is asked for as a tag: a branch of that name would move.

    A server may refuse a single commit, and one over plain HTTP serves nothing by parts: then all is fetched.
    """
    url, rev = shlex.quote(source.url), shlex.quote(source.rev)
    what = rev if source.is_commit else f"refs/tags/{rev}:refs/tags/{rev}"
    everything = "'+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'"
    missing = shlex.quote(f"{source.url} has no {'commit' if source.is_commit else 'tag'} {source.rev}")
    wanted = f"{rev}^{{commit}}" if source.is_commit else f"refs/tags/{rev}^{{commit}}"
    lines = [
        "export GIT_TERMINAL_PROMPT=0",
        'git init -q "$TMPDIR/repository"',
        f'git -C "$TMPDIR/repository" fetch -q --depth 1 {url} {what} 2>/dev/null ||',
        f'  git -C "$TMPDIR/repository" fetch -q {url} {everything}',
        f'git -C "$TMPDIR/repository" checkout -q --detach {wanted} 2>/dev/null ||',
        f"  {{ echo {missing}'; write a whole commit or a tag'; exit 1; }}",
        'git -C "$TMPDIR/repository" submodule --quiet update --init --recursive --depth 1',
        'find "$TMPDIR/repository" -name .git -prune -exec rm -rf {} +',
        f'cp -a "$TMPDIR/repository/"{shlex.quote(source.folder or ".")}/. .',
    ]
    return "\n".join(lines)


def _of_package(source: PackageSource, runtime: str, pin: Runtime, tools: str) -> Recipe:
    parcels: tuple[Parcel, ...] = ()
    if source.lock is not None:
        parcels = (Parcel("lock", _lock(source, runtime)),)
    lines = _npm(source) if runtime == "node" else _pypi(source)
    if source.registry:
        name = {"node": "npm_config_registry", "python": "UV_DEFAULT_INDEX"}[runtime]
        lines = [f"export {name}={shlex.quote(source.registry)}", *lines]
    script = "\n".join([tools, *lines])
    return Recipe(ident_of(source.version, script, *(parcel.content for parcel in parcels)), script, parcels)


def _lock(source: PackageSource, runtime: str) -> bytes:
    assert source.lock is not None
    try:
        content = source.lock.read_bytes()
        if runtime == "node":
            _check_npm_lock(source, json.loads(content))
    except (OSError, ValueError) as error:
        raise HearthError(f"read the lock file {source.lock}", str(error)) from error
    return content


def _check_npm_lock(source: PackageSource, lock: dict[str, object]) -> None:
    """npm ci refuses a lock that does not fit, in many words; here it is one line, and before anything."""
    packages = lock.get("packages")
    found = packages.get(f"node_modules/{source.name}") if isinstance(packages, dict) else None
    version = found.get("version") if isinstance(found, dict) else None
    if version != source.version:
        raise HearthError(
            f"read the lock file {source.lock}",
            f"it has {source.name} {version or 'not at all'}, and the version asked for is {source.version}",
            f"npm install --package-lock-only --save-exact {source.name}@{source.version}",
        )


def _npm(source: PackageSource) -> list[str]:
    manifest = json.dumps({"private": True, "dependencies": {source.name: source.version}})
    lines = [f"printf '%s\\n' {shlex.quote(manifest)} >package.json"]
    if source.lock is None:
        return [*lines, f"npm install --save-exact {NPM}"]
    return [*lines, 'cp "$SOURCES/lock" package-lock.json', f"npm ci {NPM}"]


def _pypi(source: PackageSource) -> list[str]:
    wanted = shlex.quote(f"{source.name}=={source.version}")
    lines = ['uv venv --quiet --python "$PYTHON" .venv']
    if source.lock is None:
        return [*lines, f"uv pip install --quiet {wanted}", "uv pip freeze >requirements.lock"]
    missing = shlex.quote(f"the lock file does not have {source.name}=={source.version}")
    return [
        *lines,
        'uv pip install --quiet --require-hashes -r "$SOURCES/lock"',
        f"uv pip show {shlex.quote(source.name)} 2>/dev/null |",
        f"  grep -qxF {shlex.quote(f'Version: {source.version}')} ||",
        f"  {{ echo {missing}; exit 1; }}",
    ]

"""Builds of applications as they run in a guest; npm and Git are the real ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hearth.application.recipe import Recipe, recipe
from hearth.application.source import GitSource, PackageSource, PathSource, Source
from hearth.errors import HearthError

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm builds")


@dataclass(frozen=True)
class Pin:
    """A runtime in a folder."""

    path: str


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    """This machine's Node.js and npm, where a guest's would be."""
    (tmp_path / "runtime/bin").mkdir(parents=True)
    for name in ("node", "npm"):
        (tmp_path / "runtime/bin" / name).symlink_to(Path(str(shutil.which(name))))
    return Pin(str(tmp_path / "runtime"))


def project(folder: Path, version: str = "1.0.0") -> Path:
    """A project without dependencies, whose script `build` makes dist/."""
    manifest = {"name": "hub", "version": version, "scripts": {"build": "mkdir dist && cp main.js dist/"}}
    lock = {"name": "hub", "version": version, "lockfileVersion": 3, "requires": True, "packages": {"": {}}}
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps(manifest))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "main.js").write_text(f"console.log({version!r})\n")
    return folder


def made(tmp_path: Path, found: Recipe) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run a build as release.built does, and say where."""
    release, sources, scratch = (tmp_path / name for name in ("release", "sources", "scratch"))
    for folder in (release, sources, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for parcel in found.parcels:
        (sources / parcel.name).write_bytes(parcel.content)
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "SOURCES": str(sources),
        "RELEASE": str(release),
        "npm_config_offline": "true",
    }
    done = subprocess.run(
        ["sh", "-euc", found.script],
        cwd=release,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return release, done


def version_of(release: Path) -> str:
    done = subprocess.run(["node", "dist/main.js"], cwd=release, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_folder_is_built_by_its_lock_file(tmp_path: Path, pin: Pin) -> None:
    release, done = made(tmp_path, recipe(PathSource(project(tmp_path / "hub")), "node", pin))
    assert done.returncode == 0, done.stdout + done.stderr
    assert version_of(release) == "1.0.0"


def test_the_name_of_a_release_changes_with_all_that_it_is_made_of(tmp_path: Path, pin: Pin) -> None:
    hub = project(tmp_path / "hub")

    def ident(source: Source | None = None, build: str | None = None, at: Pin = pin) -> str:
        return recipe(source or PathSource(hub), "node", at, build=build).ident

    first = ident()
    assert ident() == first
    others = {ident(build="npm ci"), ident(at=Pin("/opt/hearth/node/releases/26"))}
    (hub / "main.js").write_text("other")
    others |= {ident(), ident(GitSource("git://a/b", "v1")), ident(GitSource("git://a/b", "v2"))}
    others |= {ident(PackageSource("hub", "1")), ident(PackageSource("hub", "1", None, "http://own"))}
    assert len({first, *others}) == 8


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository: tag v1 and branch main, which has gone on; the project is in its folder `hub`."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for version in ("1.0.0", "2.0.0"):
        project(work / "hub", version)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", version)
        if version == "1.0.0":
            git(work, "tag", "-a", "-m", "one", "v1")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(tmp_path / "hub.git"))
    return tmp_path / "hub.git"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP on loopback; yields its URL."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def git(where: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *who, *words], cwd=where, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_tag_and_a_commit_are_built(tmp_path: Path, pin: Pin, repository: Path) -> None:
    url = f"file://{repository}"
    for rev, version in (("v1", "1.0.0"), (git(repository, "rev-parse", "main"), "2.0.0")):
        found = recipe(GitSource(url, rev, "hub"), "node", pin)
        assert found.packages == ("git",)
        release, done = made(tmp_path, found)
        assert done.returncode == 0, done.stdout + done.stderr
        assert version_of(release) == version
        assert not (release / ".git").exists()


@pytest.mark.parametrize(
    ("rev", "word"), [("main", "has no tag main"), ("v9", "has no tag v9"), ("a" * 40, "has no commit aaaa")]
)
def test_what_moves_or_is_not_there_is_refused(
    tmp_path: Path, pin: Pin, repository: Path, rev: str, word: str
) -> None:
    release, done = made(tmp_path, recipe(GitSource(f"file://{repository}", rev, "hub"), "node", pin))
    assert done.returncode != 0
    assert word in done.stdout
    assert "write a whole commit or a tag" in done.stdout
    assert not (release / "main.js").exists()


def test_a_repository_over_plain_http_serves_a_commit_too(tmp_path: Path, pin: Pin, repository: Path) -> None:
    """Git calls it the dumb protocol: nothing of it can be fetched by parts."""
    git(repository, "update-server-info")
    with served(repository) as url:
        release, done = made(
            tmp_path, recipe(GitSource(url, git(repository, "rev-parse", "main"), "hub"), "node", pin)
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert version_of(release) == "2.0.0"


def test_a_project_without_a_lock_is_not_built(tmp_path: Path, pin: Pin) -> None:
    hub = project(tmp_path / "hub")
    (hub / "package-lock.json").unlink()
    release, done = made(tmp_path, recipe(PathSource(hub), "node", pin))
    assert done.returncode != 0
    assert "no package-lock.json" in done.stdout
    assert not (release / "dist").exists()


def test_a_lock_that_does_not_fit_its_project_is_not_built(tmp_path: Path, pin: Pin) -> None:
    hub = project(tmp_path / "hub")
    manifest = json.loads((hub / "package.json").read_text())
    (hub / "package.json").write_text(json.dumps({**manifest, "dependencies": {"left-pad": "1.3.0"}}))
    _, done = made(tmp_path, recipe(PathSource(hub), "node", pin))
    assert done.returncode != 0
    assert "lock" in done.stderr


def test_a_build_of_ones_own_takes_the_place_of_ours(tmp_path: Path, pin: Pin) -> None:
    found = recipe(PathSource(project(tmp_path / "hub")), "node", pin, build="mkdir dist; cp main.js dist/")
    release, done = made(tmp_path, found)
    assert done.returncode == 0
    assert sorted(path.name for path in (release / "dist").iterdir()) == ["main.js"]


def test_a_lock_file_for_another_version_is_refused_before_anything(tmp_path: Path, pin: Pin) -> None:
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps({"packages": {"node_modules/hub": {"version": "1.0.0"}}}))
    recipe(PackageSource("hub", "1.0.0", lock), "node", pin)
    with pytest.raises(HearthError, match=r"it has hub 1.0.0, and the version asked for is 2.0.0"):
        recipe(PackageSource("hub", "2.0.0", lock), "node", pin)
    lock.write_text("no JSON")
    with pytest.raises(HearthError, match="read the lock file"):
        recipe(PackageSource("hub", "1.0.0", lock), "node", pin)


@pytest.fixture
def uv_pin(tmp_path: Path) -> Pin:
    """uv of this machine, where a guest's would be."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("there is no uv here; tests/twin builds with it")
    (tmp_path / "uv/bin").mkdir(parents=True)
    (tmp_path / "uv/bin/uv").symlink_to(uv)
    return Pin(str(tmp_path / "uv"))


def test_a_python_project_without_a_lock_is_not_built(tmp_path: Path, pin: Pin) -> None:
    (tmp_path / "ai").mkdir()
    (tmp_path / "ai/pyproject.toml").write_text('[project]\nname = "ai"\nversion = "1"\n')
    found = recipe(PathSource(tmp_path / "ai"), "python", pin, python="/usr/bin/python3")
    _, done = made(tmp_path, found)
    assert done.returncode != 0
    assert "neither uv.lock" in done.stdout


def test_python_projects_are_built_in_their_own_environment(tmp_path: Path, uv_pin: Pin) -> None:
    """Without a build backend to fetch: a script of the admin's own beside the lock."""
    (tmp_path / "ai").mkdir()
    (tmp_path / "ai/pyproject.toml").write_text('[project]\nname = "ai"\nversion = "1"\n')
    (tmp_path / "ai/requirements.lock").write_text("")
    build = 'uv venv -q --python "$PYTHON" .venv && uv pip install -q --require-hashes -r requirements.lock'
    found = recipe(PathSource(tmp_path / "ai"), "python", uv_pin, build=build, python="/usr/bin/python3")
    release, done = made(tmp_path, found)
    assert done.returncode == 0, done.stderr
    assert (release / ".venv/bin/python").exists()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A package index (PEP 503) with `ai` 1.0 and 2.0, and a lock for 1.0; yields its URL and the lock."""
    folder = tmp_path / "index/ai"
    folder.mkdir(parents=True)
    names = [wheel(folder, version) for version in ("1.0", "2.0")]
    (folder / "index.html").write_text("".join(f'<a href="{name}">{name}</a>' for name in names))
    digest = hashlib.sha256((folder / names[0]).read_bytes()).hexdigest()
    with served(tmp_path / "index") as url:
        yield url, f"ai==1.0 --hash=sha256:{digest}\n"


def wheel(folder: Path, version: str) -> str:
    """A wheel (PEP 427) of one module that knows its version."""
    name, info = f"ai-{version}-py3-none-any.whl", f"ai-{version}.dist-info"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("ai.py", f"print({version!r})\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: ai\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return name


def installed(release: Path) -> str:
    python = [str(release / ".venv/bin/python"), "-m", "ai"]
    return subprocess.run(python, capture_output=True, text=True, check=True).stdout.strip()


def test_a_package_of_pypi_is_installed_with_its_lock_or_without(
    tmp_path: Path, uv_pin: Pin, index: tuple[str, str]
) -> None:
    url, lock = index
    (tmp_path / "ai.lock").write_text(lock)
    for given in (None, tmp_path / "ai.lock"):
        source = PackageSource("ai", "1.0", given, url)
        release, done = made(tmp_path, recipe(source, "python", uv_pin, python="/usr/bin/python3"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert installed(release) == "1.0"
    free = made(
        tmp_path, recipe(PackageSource("ai", "2.0", None, url), "python", uv_pin, python="/usr/bin/python3")
    )
    assert (free[0] / "requirements.lock").read_text().startswith("ai==2.0")


@pytest.mark.parametrize(
    ("version", "spoil", "word"), [("2.0", "", "does not have ai==2.0"), ("1.0", "0" * 8, "Hash mismatch")]
)
def test_a_package_that_its_lock_does_not_have_is_not_installed(
    tmp_path: Path, uv_pin: Pin, index: tuple[str, str], *, version: str, spoil: str, word: str
) -> None:
    url, lock = index
    found = lock if not spoil else lock.replace(lock.partition("sha256:")[2][:8], spoil)
    (tmp_path / "ai.lock").write_text(found)
    source = PackageSource("ai", version, tmp_path / "ai.lock", url)
    _, done = made(tmp_path, recipe(source, "python", uv_pin, python="/usr/bin/python3"))
    assert done.returncode != 0
    assert word in (done.stdout + done.stderr)

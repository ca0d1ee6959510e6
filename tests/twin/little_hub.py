"""An admin's own hub in a few lines of Node.js, in every place that an application may come from.

It answers with its version; one whose version begins with 9 is sick: it starts, and says 503.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.twin.annex_kit import git
from tests.twin.handle import ROUTER, TwinHandle, until

SERVER = """
const { version } = require("./package.json");
require("http").createServer((request, response) => {
  response.writeHead(version.startsWith("9") ? 503 : 200);
  response.end(version);
}).listen(13000, "127.0.0.1");
"""
REGISTRY, GIT = 4873, 9418


def project(folder: Path, version: str) -> dict[str, str]:
    """Write the project; it needs nothing else, and its lock file says so."""
    manifest = {"name": "little-hub", "version": version}
    lock = {**manifest, "lockfileVersion": 3, "requires": True, "packages": {"": manifest}}
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps(manifest))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "server.js").write_text(SERVER)
    return {"path": str(folder)}


@contextmanager
def repository(twin: TwinHandle, place: Path, versions: list[str]) -> Iterator[dict[str, dict[str, str]]]:
    """A Git repository that the guests reach, with a tag for each version; yields the source of each."""
    work = place / "work"
    project(work, "0.0.0")
    git(work, "init", "-q", "-b", "main")
    for version in versions:
        project(work, version)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", version)
        git(work, "tag", "-a", "-m", version, f"v{version}")
    git(place, "clone", "-q", "--bare", str(work), str(place / "hub.git"))
    url = f"git://{ROUTER}:{GIT}/hub.git"
    daemon = ["git", "daemon", f"--base-path={place}", "--export-all", f"--port={GIT}", f"--listen={ROUTER}"]
    with _serving(twin, daemon, GIT):
        yield {version: {"git": url, "rev": f"v{version}"} for version in versions}


@contextmanager
def registry(twin: TwinHandle, place: Path, versions: list[str]) -> Iterator[dict[str, dict[str, str]]]:
    """An npm registry that the guests reach, with a package; yields the source of each version.

    Only what npm asks for: the package's document and its files (github.com/npm/registry, docs/responses).
    """
    url = f"http://{ROUTER}:{REGISTRY}"
    found = {}
    for version in versions:
        packed = _packed(place, version)
        (place / f"little-hub-{version}.tgz").write_bytes(packed)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
        tarball = f"{url}/little-hub-{version}.tgz"
        found[version] = {
            "name": "little-hub",
            "version": version,
            "dist": {"tarball": tarball, "integrity": integrity},
        }
    document = {"name": "little-hub", "dist-tags": {"latest": versions[0]}, "versions": found}
    (place / "little-hub").write_text(json.dumps(document))
    server = ["python3", "-m", "http.server", "-b", ROUTER, "-d", str(place), str(REGISTRY)]
    with _serving(twin, server, REGISTRY):
        yield {
            version: {"package": "little-hub", "version": version, "registry": url} for version in versions
        }


def _packed(place: Path, version: str) -> bytes:
    folder = place / f"package-{version}"
    project(folder, version)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("package.json", "server.js"):
            archive.add(folder / name, f"package/{name}")
    return packed.getvalue()


@contextmanager
def _serving(twin: TwinHandle, command: list[str], port: int) -> Iterator[None]:
    inside = ["nsenter", f"--net={twin.twin.netns_file}", "--"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen([*inside, *command], stdout=quiet, stderr=quiet) as server:
        try:
            until(lambda: twin.call(lambda: _accepts(port)))
            yield
        finally:
            server.terminate()


def _accepts(port: int) -> bool | None:
    import socket

    try:
        socket.create_connection((ROUTER, port), 2).close()
    except OSError:
        return None
    return True

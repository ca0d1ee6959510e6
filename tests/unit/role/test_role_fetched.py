"""Programs that come ready made: nothing of a file whose hash is another one is ever used."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.ops import fetched
from hearth.ops.fetched import PARCEL, Source

PROGRAM = "#!/bin/sh\necho it runs\n"


def build(source: Source, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a release's script as a build does."""
    for name in ("release", "sources", "tmp"):
        (folder / name).mkdir()
    for parcel in source.parcels:
        (folder / "sources" / parcel.name).write_bytes(parcel.content)
    env = {"PATH": os.environ["PATH"], "SOURCES": str(folder / "sources"), "TMPDIR": str(folder / "tmp")}
    script = source.script("program", "./program")
    command = ["sh", "-eu", "-c", script]
    return subprocess.run(
        command, cwd=folder / "release", env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program's file."""
    file = tmp_path / "program-1.0"
    file.write_text(PROGRAM)
    return file


@pytest.fixture
def archive(tmp_path: Path, program: Path) -> Path:
    """The same in an archive, below a folder as vendors have it."""
    file = tmp_path / "program-1.0.tgz"
    program.chmod(0o755)
    with tarfile.open(file, "w:gz") as tar:
        tar.add(program, "program-1.0/program")
    return file


@pytest.mark.parametrize("kind", ["program", "archive"])
@pytest.mark.parametrize("way", ["path", "url"])
def test_it_is_taken_and_runs(kind: str, way: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file: Path = request.getfixturevalue(kind)
    source = fetched.chosen({"path": str(file)}, "thing_source")
    if way == "url":
        source = Source(file.name, source.sha256, url=file.as_uri(), archive=source.archive)
    done = build(source, tmp_path)
    assert (done.returncode, done.stdout.strip().splitlines()[-1]) == (0, "it runs"), done.stderr


@pytest.mark.parametrize("kind", ["program", "archive"])
def test_another_file_is_refused_before_it_is_unpacked(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file: Path = request.getfixturevalue(kind)
    source = Source(file.name, "0" * 64, url=file.as_uri(), archive=kind == "archive")
    assert build(source, tmp_path).returncode != 0
    assert list((tmp_path / "release").iterdir()) == []


def test_a_program_that_does_not_run_is_no_release(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    assert build(fetched.chosen({"path": str(broken)}, "thing_source"), tmp_path).returncode == 3


def test_a_url_is_fetched_there_and_a_file_is_sent(program: Path) -> None:
    there = fetched.chosen({"url": "https://x.example/a/program_1", "sha256": "a" * 64}, "thing_source")
    assert (there.label, there.archive, there.parcels) == ("program_1", False, ())
    assert fetched.chosen({"url": "https://x.example/p.tgz", "sha256": "a" * 64}, "thing_source").archive
    here = fetched.chosen({"path": str(program)}, "thing_source")
    assert here.sha256 == hashlib.sha256(PROGRAM.encode()).hexdigest()
    assert [parcel.name for parcel in here.parcels] == [PARCEL]


def test_a_release_is_named_after_all_that_it_is_made_of(program: Path) -> None:
    one = fetched.chosen({"path": str(program)}, "thing_source")
    other = Source(one.label, "b" * 64, url="https://x.example/program")
    names = {
        fetched.ident(one, "p", "./p"),
        fetched.ident(other, "p", "./p"),
        fetched.ident(one, "p", "./p -v"),
    }
    assert len(names) == 3
    assert all(name.startswith("program-1.0-") for name in names)


@pytest.mark.parametrize(
    "value",
    [
        "vendor",
        {},
        {"url": "https://x.example/p"},
        {"url": "ftp://x.example/p", "sha256": "a" * 64},
        {"url": "https://x.example/p", "sha256": "a" * 63},
        {"url": "https://x.example/p", "sha256": "A" * 64},
        {"path": "/nonexistent/program"},
        {"path": "/etc", "sha256": "a" * 64},
    ],
)
def test_what_is_no_source_is_refused(value: Any) -> None:
    with pytest.raises(HearthError, match="use thing_source"):
        fetched.chosen(value, "thing_source")

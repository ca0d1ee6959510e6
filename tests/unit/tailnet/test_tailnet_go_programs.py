"""Programs that Go builds: once, whole, and with clear words where it cannot. The real one: `server`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hearth.errors import HearthError
from twin import go_programs

GO = """#!/bin/sh
echo "$@" >>{folder}/called
cat "$3/go.mod" >>{folder}/called
while [ "$1" != -o ]; do shift; done
echo made >"$2"
exit {code}
"""


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose `go` only writes a file, in the folder that it is told with -C."""
    monkeypatch.setattr(go_programs, "GO", str(tmp_path / "nowhere"))
    folder = tmp_path / "bin"
    folder.mkdir()
    install(folder, 0)
    return {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HEARTH_GO_PROGRAMS": str(tmp_path / "kept"),
        "HOME": "/nowhere",
    }


def install(folder: Path, code: int) -> None:
    """Put the stand-in of `go` there."""
    script = GO.format(folder=folder, code=code).replace('echo made >"$2"', 'echo made >"$work/$2"')
    (folder / "go").write_text(script.replace("while", "work=$3\nwhile"))
    (folder / "go").chmod(0o755)


def test_built_once_at_its_version(environ: dict[str, str], tmp_path: Path) -> None:
    first = go_programs.ensure("tailscaled", environ)
    assert go_programs.ensure("tailscaled", environ) == first
    assert first.read_text() == "made\n"
    called = (tmp_path / "bin" / "called").read_text()
    program = go_programs.PROGRAMS["tailscaled"]
    assert called.count("build -C") == 1
    assert f"require {program.module} {program.version}" in called
    assert program.version in first.parent.name
    assert [file.name for file in first.parent.iterdir() if not file.name.startswith(".")] == ["tailscaled"]


def test_one_build_is_command_and_daemon(environ: dict[str, str], tmp_path: Path) -> None:
    command = go_programs.ensure("tailscale", environ)
    assert command.name == "tailscale"
    assert command.samefile(go_programs.ensure("tailscaled", environ))
    assert (tmp_path / "bin" / "called").read_text().count("build -C") == 1


def test_other_build_tags_are_another_build(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = go_programs.ensure("tailscaled", environ)
    program = go_programs.PROGRAMS["tailscaled"]
    monkeypatch.setitem(go_programs.PROGRAMS, "tailscaled", replace(program, tags=("another",)))
    assert go_programs.ensure("tailscaled", environ) != first


def test_a_build_that_fails_leaves_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    install(tmp_path / "bin", 1)
    with pytest.raises(HearthError, match="go build"):
        go_programs.ensure("tailscaled", environ)
    install(tmp_path / "bin", 0)
    assert go_programs.ensure("tailscaled", environ).exists()


def test_without_go(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "go").unlink()
    with pytest.raises(HearthError, match="Go is not installed"):
        go_programs.ensure("headscale", {**environ, "PATH": str(tmp_path / "bin")})


def test_all_are_built_by_one_command_and_a_mistake_is_told(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    install(tmp_path / "bin", 1)
    assert go_programs.main() == 1
    assert "go build" in capsys.readouterr().err
    install(tmp_path / "bin", 0)
    assert go_programs.main() == 0
    assert {file.name for file in (tmp_path / "kept").rglob("*[a-z]") if file.is_file()} >= set(
        go_programs.PROGRAMS
    )

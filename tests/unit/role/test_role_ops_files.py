"""Files are replaced whole, after their program accepted them, and secret ones never show."""

from __future__ import annotations

import getpass
import grp
import os
from pathlib import Path
from typing import Any

import pytest
from ops_kit import listen, preparing, run, said

from hearth.ops import files
from hearth.ops.files import File, with_block

ME = getpass.getuser()
MINE = grp.getgrgid(os.getegid()).gr_name
CANARY = "canary-7c1f"


@pytest.fixture(autouse=True)
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "STAGES", str(tmp_path / "stages"))
    return tmp_path / "stages"


def a_file(path: Path, content: str, **more: Any) -> File:
    return File(str(path), content, **{"user": ME, "group": MINE, **more})


def put(*wanted: File, check: str | None = None, diff: bool = False) -> Any:
    return run(lambda: files.present(name="Put files", files=list(wanted), check=check), diff)


def test_a_new_file_is_whole_and_a_second_run_changes_nothing(tmp_path: Path, stages: Path) -> None:
    path = tmp_path / "new folder" / "it's.conf"
    wanted = a_file(path, "grün\n$HOME `id`\n", mode="640")
    assert put(wanted).did_change()
    assert path.read_text() == "grün\n$HOME `id`\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert path.parent.stat().st_mode & 0o7777 == 0o755
    assert put(wanted).did_not_change()
    assert list(stages.iterdir()) == []
    assert [file.name for file in path.parent.iterdir()] == ["it's.conf"]


@pytest.mark.parametrize(
    "spoil", [lambda p: p.write_text("x"), lambda p: p.chmod(0o666), lambda p: p.unlink()]
)
def test_any_difference_is_mended(tmp_path: Path, spoil: Any) -> None:
    wanted = a_file(tmp_path / "file", "wanted", mode="600")
    put(wanted)
    spoil(tmp_path / "file")
    assert put(wanted).did_change()
    assert (tmp_path / "file").read_text() == "wanted"
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o600


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    put(a_file(tmp_path / "link", "new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert put(a_file(tmp_path / "link", "new")).did_not_change()


def test_a_refused_candidate_leaves_all_old_files_and_says_why(tmp_path: Path, stages: Path) -> None:
    one, two = a_file(tmp_path / "one", "old"), a_file(tmp_path / "two", "old")
    put(one, two)
    worse = a_file(tmp_path / "two", "bad")
    done = put(a_file(tmp_path / "one", "new"), worse, check=f"! grep -H bad {{stage}}{tmp_path}/two")
    assert not done.did_succeed()
    assert "two:bad" in done.stdout
    assert "kept as it was" in done.stderr
    assert [(tmp_path / name).read_text() for name in ("one", "two")] == ["old", "old"]
    assert list(stages.iterdir()) == []


def test_a_check_sees_every_candidate_also_those_that_do_not_differ(tmp_path: Path) -> None:
    one, two = a_file(tmp_path / "one", "1"), a_file(tmp_path / "two", "2")
    put(one, two)
    seen = tmp_path / "seen"
    done = put(
        one, a_file(tmp_path / "two", "3"), check=f"cat {{candidate}} {{stage}}{tmp_path}/two > {seen}"
    )
    assert done.did_succeed()
    assert seen.read_text() == "13"


def test_candidates_are_for_their_owner_only(tmp_path: Path, stages: Path) -> None:
    modes = tmp_path / "modes"
    put(a_file(tmp_path / "secret", CANARY, mode="600"), check=f"stat -c %a {stages} {{stage}} > {modes}")
    assert set(modes.read_text().split()) == {"700"}


def test_a_missing_owner_fails_and_leaves_nothing(tmp_path: Path) -> None:
    assert not put(a_file(tmp_path / "file", "x", user="no-such-user")).did_succeed()
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("diff", [False, True])
def test_a_secret_shows_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], diff: bool
) -> None:
    listen(caplog)
    secret = a_file(tmp_path / "secret", CANARY, mode="600", secret=True)
    with preparing(diff):
        files.present(files=[secret])  # no name: pyinfra then prints the arguments
        put(secret, diff=diff)
    out = capfd.readouterr()
    assert CANARY not in said(caplog) + out.out + out.err
    assert (tmp_path / "secret").read_text() == CANARY


def test_a_diff_shows_what_is_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    put(a_file(tmp_path / "file", "one\ntwo\n"))
    put(a_file(tmp_path / "file", "one\nthree\n"), diff=True)
    assert "-two" in said(caplog)
    assert "+three" in said(caplog)


def test_a_block_leaves_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n# mine\n")
    path.chmod(0o664)

    def block(*lines: str) -> Any:
        return run(lambda: files.block(name="Block", path=str(path), lines=list(lines)))

    assert block("1.1.1.1 one").did_change()
    assert block("1.1.1.1 one").did_not_change()
    assert block("2.2.2.2 two", "3.3.3.3 three").did_change()
    assert path.read_text().splitlines() == [
        "# hearth: begin",
        "2.2.2.2 two",
        "3.3.3.3 three",
        "# hearth: end",
        "127.0.0.1 localhost",
        "# mine",
    ]
    assert path.stat().st_mode & 0o7777 == 0o664


def test_a_block_makes_the_file_unless_told_not_to(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    done = run(lambda: files.block(name="B", path=str(path), lines=["x"], only_if_present=True))
    assert done.did_not_change()
    assert not path.exists()


@pytest.mark.parametrize(
    ("old", "rest"),
    [
        (["# hearth: begin", "old", "# hearth: end", "theirs"], ["theirs"]),
        (["a", "# hearth: begin", "old", "# hearth: end", "b"], ["a", "b"]),
        (["# hearth: begin", "theirs"], ["theirs"]),  # the end is lost: nothing but the marker is surely ours
        (["# hearth: end", "theirs"], ["# hearth: end", "theirs"]),
        (["# hearth: begin", "1", "# hearth: end", "a", "# hearth: begin", "2", "# hearth: end"], ["a"]),
    ],
)
def test_old_blocks_go(old: list[str], rest: list[str]) -> None:
    assert with_block(old, ["new"], "hearth") == ["# hearth: begin", "new", "# hearth: end", *rest]

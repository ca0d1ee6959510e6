"""`hearth secrets edit`: what the editor's file holds, and what becomes of it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hearth.cli.editing import as_text, compare
from hearth.errors import HearthError

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]

VALUES = {
    "plain": "abc",
    "number": "0123",
    "no": "no",
    "null": "null",
    "lines": "-----BEGIN\nkey=\n-----END\n",
    "no-end": "a\nb",
    "crlf": "a\r\nb\r\n",
    "blanks": " a ",
    "blank-lines": "\n\n a \n\n",
    "colon": "user: {x} # not",
    "quotes": "'\"\\",
    "umlaut": "Öl",
    "long": "x y " * 500,
    "control": "a\tb\x07",
}


def test_every_value_survives() -> None:
    wanted = compare(VALUES, as_text(VALUES))
    assert (dict(wanted.put), wanted.removed) == ({}, ())


@pytest.mark.parametrize("typed", ["0123", "no", "1_000", "2026-01-01", "1e3", "null", "~"])
def test_what_is_typed_without_quotes_is_taken_as_it_stands(typed: str) -> None:
    assert dict(compare({}, f"pin: {typed}\n").put) == {"pin": typed}


def test_changed_added_and_removed() -> None:
    wanted = compare({"a": "1", "b": "2"}, "a: 3\nmqtt/new: '4'\n")
    assert dict(wanted.put) == {"a": "3", "mqtt/new": "4"}
    assert wanted.removed == ("b",)


@pytest.mark.parametrize(
    "text", ["a: [canary\n", "- canary\n", "canary", "a:\n", "a: {b: canary}\n", "a b: canary\n", "a: '\x00'"]
)
def test_refused_without_showing_it(text: str) -> None:
    with pytest.raises(HearthError) as caught:
        compare({"a": "1"}, text)
    assert "canary" not in str(caught.value)


@pytest.fixture
def editor(project: Path) -> Callable[[str], dict[str, str]]:
    """Make an editor of a shell script; it notes the file's path, its folder's mode, and on what it lies."""

    def make(script: str) -> dict[str, str]:
        path = project / "editor"
        path.write_text(
            f'#!/bin/sh\necho "$1" > {project}/where\nstat -c %a "${{1%/*}}" >> {project}/where\n'
            f'stat -f -c %T "$1" >> {project}/where\n{script}'
        )
        path.chmod(0o755)
        return {"VISUAL": str(path), "EDITOR": str(path)}

    return make


def test_edit(hearth: Hearth, project: Path, editor: Callable[[str], dict[str, str]]) -> None:
    hearth("secrets", "set", "mqtt/kitchen", stdin="canary-old")
    hearth("secrets", "set", "gone", stdin="canary-gone")
    script = 'sed -i -e "s/canary-old/canary-new/" -e "/^gone/d" "$1"; echo "added: canary-added" >> "$1"'
    done = hearth("secrets", "edit", **editor(script))
    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr
    assert hearth("secrets", "show", "mqtt/kitchen").stdout == "canary-new\n"
    assert hearth("secrets", "show", "added").stdout == "canary-added\n"
    assert hearth("secrets", "show", "gone").returncode == 1
    where, mode, kind = (project / "where").read_text().splitlines()
    assert mode == "700"
    assert kind == "tmpfs", "no disk has it"
    assert not Path(where).parent.exists()


def test_edit_of_one_leaves_the_others(
    hearth: Hearth, project: Path, editor: Callable[[str], dict[str, str]]
) -> None:
    hearth("secrets", "set", "a", stdin="canary-a")
    hearth("secrets", "set", "b", stdin="canary-b")
    done = hearth("secrets", "edit", "a", **editor('grep -q canary-b "$1" && exit 1; echo "a: c" > "$1"'))
    assert done.returncode == 0
    assert hearth("secrets", "show", "a").stdout == "c\n"
    assert hearth("secrets", "show", "b").stdout == "canary-b\n"
    assert hearth("secrets", "edit", "c", **editor("true")).returncode == 1


@pytest.mark.parametrize("script", ["exit 3", 'echo "[" > "$1"'])
def test_what_fails_changes_nothing(
    hearth: Hearth, project: Path, editor: Callable[[str], dict[str, str]], script: str
) -> None:
    hearth("secrets", "set", "a", stdin="canary-a")
    before = (project / "inventory" / "secrets.age").read_bytes()
    assert hearth("secrets", "edit", **editor(script)).returncode == 1
    assert (project / "inventory" / "secrets.age").read_bytes() == before
    assert not Path((project / "where").read_text().splitlines()[0]).exists()

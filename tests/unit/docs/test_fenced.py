"""`bin/fenced`: the commands of a page, all of them and no others; and that of disaster recovery."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PROGRAM = PROJECT / "bin/fenced"
RECOVERY = PROJECT / "docs/disaster-recovery.md"


def ran(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *words, str(page)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def page(place: Path, text: str) -> Path:
    file = place / "page.md"
    file.write_text(text)
    return file


TEXT = """# Page

`echo inline` is no command of it.

    echo indented

```sh
WHAT=first
echo $WHAT
```

```yaml
echo: no
```

```
echo without a word
```

~~~sh
echo "then $WHAT"  # one shell
~~~
"""


def test_fenced_blocks_of_sh_in_their_order_in_one_shell(tmp_path: Path) -> None:
    done = ran(page(tmp_path, TEXT))
    assert (done.returncode, done.stdout) == (0, "first\nthen first\n")


def test_they_are_listed_and_not_run(tmp_path: Path) -> None:
    there = tmp_path / "there"
    done = ran(page(tmp_path, f"```sh\ntouch {there}\n```\n"), "--list")
    assert (done.stdout, there.exists()) == (f"touch {there}\n", False)


@pytest.mark.parametrize("command", ["exit 7", "(exit 7)", "sh -c 'exit 7'"])
def test_the_first_that_fails_ends_it_with_its_code(tmp_path: Path, command: str) -> None:
    done = ran(page(tmp_path, f"```sh\n{command}\necho more\n```\n```sh\necho more\n```\n"))
    assert (done.returncode, done.stdout) == (7, "")


def test_a_variable_that_is_not_set_ends_it(tmp_path: Path) -> None:
    assert ran(page(tmp_path, "```sh\necho $NOBODY_SETS_THIS\n```\n")).returncode != 0


@pytest.mark.parametrize("text", ["", "# Page\n\n    echo indented\n", "```sh\necho never closed\n"])
def test_a_page_without_any_is_an_error(tmp_path: Path, text: str) -> None:
    done = ran(page(tmp_path, text))
    assert done.returncode == 1
    assert "no fenced block of sh" in done.stderr


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    done = ran(tmp_path / "nothing.md")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_way_back_is_restore_and_what_it_needs() -> None:
    lines = ran(RECOVERY, "--list").stdout.splitlines()
    assert lines[-1] == "pyinfra inventory restore.py -y"
    assert any("bin/setup" in line for line in lines)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_its_commands_are_good_shell(tmp_path: Path) -> None:
    file = tmp_path / "commands.sh"
    file.write_text("#!/bin/sh\n" + ran(RECOVERY, "--list").stdout)
    done = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

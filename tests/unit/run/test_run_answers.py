"""What an absent guest answers while a run is planned."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from pyinfra.api import StringCommand
from pyinfra.api.exceptions import MissingCommandError
from pyinfra.facts.server import Kernel, Which

from hearth.connector import as_fresh_debian


def lines(command: str | StringCommand) -> list[str]:
    """The lines of an answer that succeeded."""
    good, output = as_fresh_debian(command)
    assert good
    return list(output.stdout_lines)


def test_it_is_a_linux() -> None:
    assert Kernel().process(lines(Kernel().command())) == "Linux"


@pytest.mark.parametrize("tool", ["systemctl", "apt-get", "useradd"])
def test_it_has_what_debian_has(tool: str) -> None:
    assert Which().process(lines(Which().command(tool)))


@pytest.mark.parametrize("tool", ["docker", "rc-service", "yum", "mosquitto"])
def test_it_has_nothing_that_must_be_installed(tool: str) -> None:
    assert not Which().process(lines(Which().command(tool)))


def test_pyinfras_command_objects_are_understood() -> None:
    assert lines(StringCommand("uname", "-s")) == ["Linux"]


@pytest.mark.parametrize(
    "command", ["cat /etc/passwd", "uname -a", "uname -s; rm -rf /", "command -v x; reboot"]
)
def test_anything_else_is_answered_by_the_facts_own_default(command: str) -> None:
    with pytest.raises(MissingCommandError):
        as_fresh_debian(command)


def test_this_shell_would_answer_alike() -> None:
    """The form of the answer is that of a real `command -v`."""
    if shutil.which("sed") is None:
        pytest.fail("the tests need sed")
    real = subprocess.run(
        ["sh", "-c", str(Which().command("sed"))], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert (
        Which().process(real).rpartition("/")[2]
        == Which().process(lines(Which().command("sed"))).rpartition("/")[2]
    )

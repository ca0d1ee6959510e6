"""What the command line asks for, from pyinfra's own parser; and how long a run waits."""

from __future__ import annotations

import pytest
from pyinfra_cli.cli import cli

from hearth.errors import HearthError
from hearth.options import Options
from hearth.patience import patience


def typed(line: str) -> Options:
    """The options of a command line, parsed by pyinfra's own command."""
    with cli.make_context("pyinfra", line.split()):
        return Options.from_command_line()


@pytest.mark.parametrize(
    "line",
    [
        "inventory deploy.py -y",
        "inventory deploy.py",
        "inventory deploy.py --json -y",
        "inventory teardown.py -y --data destroy=a",
        "inventory exec -- reboot",
    ],
)
def test_these_may_change_something_and_need_the_lock(line: str) -> None:
    assert typed(line).may_change


@pytest.mark.parametrize(
    "line",
    [
        "inventory deploy.py --dry",
        "inventory deploy.py --dry -y",
        "inventory deploy.py --json",
        "inventory deploy.py --debug-operations",
        "inventory deploy.py --debug-facts",
        "inventory debug-inventory",
        "inventory fact server.Hostname",
    ],
)
def test_these_change_nothing(line: str) -> None:
    assert not typed(line).may_change


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("inventory deploy.py --data adopt=a", {"a"}),
        ("inventory deploy.py --data adopt=a,b", {"a", "b"}),
        ("inventory deploy.py --data adopt=a,,b,", {"a", "b"}),
        ("inventory deploy.py --data replace=a", set()),
        ("inventory deploy.py --data adopt=", set()),
        ("inventory deploy.py", set()),
    ],
)
def test_guests_are_named_with_data(line: str, names: set[str]) -> None:
    assert typed(line).names("adopt") == names


@pytest.mark.parametrize("how", ["--limit a", "--exclude a"])
def test_a_limited_run_is_known_as_such(how: str) -> None:
    assert typed(f"inventory deploy.py {how}").limited
    assert not typed("inventory deploy.py").limited


def test_outside_of_a_command_nothing_may_change() -> None:
    assert not Options.from_command_line().may_change


def test_the_patience_of_a_run_can_be_set() -> None:
    assert patience({}) == {"timeout": 30.0, "lock_timeout": 120.0}
    assert patience({"HEARTH_API_TIMEOUT": "2.5", "HEARTH_LOCK_TIMEOUT": " 7 "}) == {
        "timeout": 2.5,
        "lock_timeout": 7.0,
    }


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_a_patience_that_is_no_number_of_seconds_is_refused(value: str) -> None:
    with pytest.raises(HearthError, match="HEARTH_LOCK_TIMEOUT"):
        patience({"HEARTH_LOCK_TIMEOUT": value})

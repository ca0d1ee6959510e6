"""The section `backup` of the fleet file: Proxmox's backup jobs, and every mistake of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fleet_cases import WHOLE

from hearth.fleet.mistakes import Mistake
from hearth.fleet.model import Fleet
from hearth.fleet.schedules import apart, starts

Load = Callable[[str], Fleet]
Mistakes = Callable[[str], tuple[Mistake, ...]]
GOOD = """\
backup:
  storage: backups
  jobs:
    configuration:
      schedule: "02:00"
      guests: [comms]
      keep: {daily: 7, weekly: 4}
    state:
      schedule: "sun 04:00"
      storage: pbs
      mode: stop
      keep: {weekly: 4}
      notes: "{{guestname}} of {{node}}"
"""


def test_whole(load: Load) -> None:
    found = load(WHOLE + GOOD).backup
    assert found
    one, two = found.jobs
    assert (one.name, one.schedule, one.guests, one.storage) == (
        "configuration",
        "02:00",
        ("comms",),
        "backups",
    )
    assert (one.mode, one.keep, one.notes) == (
        "snapshot",
        (("daily", 7), ("weekly", 4)),
        "{{guestname}} ({{vmid}})",
    )
    assert (two.storage, two.mode) == ("pbs", "stop")
    assert two.guests == tuple(guest.name for guest in load(WHOLE).guests), "all, where none is named"


def test_without_the_section_jobs_are_not_hearths_business(load: Load) -> None:
    assert load(WHOLE).backup is None
    found = load(WHOLE + "backup: {jobs: {}}\n").backup
    assert found
    assert found.jobs == ()


CASES: dict[str, tuple[str, str, str, str, str]] = {
    # name: (old, new, field, wrong, right)
    "no schedule": ('      schedule: "02:00"\n', "", "configuration.schedule", "missing", "02:30"),
    "no time": ('"02:00"', '"2 am"', "configuration.schedule", "no time", "sun 03:00"),
    "number": ('"02:00"', "2", "configuration.schedule", "a number", "in quotes"),
    "no day": ('"sun 04:00"', '"someday 04:00"', "state.schedule", "no time", "mon..fri"),
    "days backwards": ('"sun 04:00"', '"sun..mon 04:00"', "state.schedule", "no time", ""),
    "no storage": ("  storage: backups\n", "", "configuration.storage", "missing", "backup.storage"),
    "no keep": ("      keep: {daily: 7, weekly: 4}\n", "", "configuration.keep", "missing", "daily: 7"),
    "keeps nothing": ("{weekly: 4}", "{weekly: 0}", "state.keep.weekly", "0 is not from 1", ""),
    "unknown keep": ("{weekly: 4}", "{weekly: 4, week: 4}", "state.keep.week", "no known key", "weekly"),
    "unknown guest": ("[comms]", "[coms]", "configuration.guests.0", "no guest", "comms"),
    "guest twice": ("[comms]", "[comms, comms]", "configuration.guests.1", "twice", "remove"),
    "no guest": ("[comms]", "[]", "configuration.guests", "empty list", "all of them"),
    "unknown mode": ("mode: stop", "mode: halt", "state.mode", "halt", "snapshot"),
    "unknown key": ("mode: stop", "modus: stop", "state.modus", "no known key", "mode"),
    "unknown variable": ("{{node}}", "{{host}}", "state.notes", "stands for nothing", "guestname"),
    "bad name": ("    state:\n", "    State of all:\n", '"State of all"', "", ""),
    "no mapping": ("{daily: 7, weekly: 4}", "7", "configuration.keep", "belong", ""),
    "two at once": ('"sun 04:00"', '"sun 02:30"', "state.schedule", "30 minutes from configuration", "60"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_mistake_is_told_whole(name: str, mistakes: Mistakes) -> None:
    old, new, field, wrong, right = CASES[name]
    assert old in GOOD
    text = WHOLE + GOOD.replace(old, new)
    (mistake,) = mistakes(text)
    assert mistake.field == f"backup.jobs.{field}"
    assert wrong in mistake.wrong
    assert right in mistake.right
    first = text.count("\n", 0, text.index("backup:")) + 1
    assert mistake.line > first, "the line of the job, not of the file"


def test_all_mistakes_at_once(mistakes: Mistakes) -> None:
    text = WHOLE + GOOD.replace("[comms]", "[coms]").replace("{weekly: 4}", "{week: 1}")
    fields = {mistake.field for mistake in mistakes(text)}
    assert {"backup.jobs.configuration.guests.0", "backup.jobs.state.keep.week"} <= fields


@pytest.mark.parametrize("wrong", ["backup: daily\n", "backup: []\n", "backup: {jobs: []}\n"])
def test_what_is_no_section(wrong: str, mistakes: Mistakes) -> None:
    assert any("backup" in mistake.field for mistake in mistakes(WHOLE + wrong))


@pytest.mark.parametrize(
    ("one", "other", "minutes"),
    [
        ("02:00", "02:00", 0),
        ("02:00", "sun 02:45", 45),
        ("mon 23:50", "tue 00:10", 20),
        ("sun 23:50", "mon 00:20", 30),
        ("mon..fri 02:00", "sat,sun 02:00", 24 * 60),
        ("mon 02:00", "thu 14:00", (3 * 24 + 12) * 60),
    ],
)
def test_how_far_two_schedules_are_apart(one: str, other: str, minutes: int) -> None:
    assert apart(one, other) == apart(other, one) == minutes


def test_starts() -> None:
    found: Any = starts("mon,wed..thu 01:30")
    assert found == (90, 2 * 1440 + 90, 3 * 1440 + 90)

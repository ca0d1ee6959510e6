"""The copy elsewhere: its timers, or nothing of it where no place is set."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("job", ["copy", "check"])
def test_its_jobs_run_where_there_is_a_place(host: Any, job: str) -> None:
    timer = host.service(f"hearth-backup-{job}.timer")
    there = host.file("/etc/hearth/backup/remote.json")
    assert timer.is_running is bool(there.exists)


def test_what_opens_the_place_is_nobody_elses(host: Any) -> None:
    there = host.file("/etc/hearth/backup/remote.json")
    assert not there.exists or (there.user, there.mode) == ("hearth-keeper", 0o600)

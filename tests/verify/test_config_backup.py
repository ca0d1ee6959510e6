"""The guest that keeps backups: its timer, its repository, and that nobody else reads it."""

from __future__ import annotations

from typing import Any

from sandbox import EXPOSED, exposure


def test_it_runs_every_day(host: Any) -> None:
    timer = host.service("hearth-backup.timer")
    assert timer.is_running
    assert timer.is_enabled


def test_the_repository_opens(host: Any) -> None:
    done = host.run("hearth-backup restic local cat config")
    assert done.rc == 0, done.stderr


def test_nobody_else_reads_what_it_keeps(host: Any) -> None:
    for path, mode in (("/var/lib/hearth-backup", 0o700), ("/etc/hearth/backup", 0o700)):
        folder = host.file(path)
        assert (folder.user, folder.mode) == ("hearth-keeper", mode)
    for name in ("password", "ssh-key"):
        assert host.file(f"/etc/hearth/backup/{name}").mode == 0o600


def test_the_fleets_own_files_are_among_them(host: Any) -> None:
    kept = host.file("/etc/hearth/backup/fleet/secrets.age")
    assert "BEGIN AGE ENCRYPTED FILE" in kept.content_string
    assert kept.mode == 0o600


def test_its_job_is_confined(host: Any) -> None:
    assert exposure(host, "hearth-backup.service") <= EXPOSED

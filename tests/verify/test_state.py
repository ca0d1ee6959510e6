"""Every guest can give its state, and to nobody but the collector."""

from __future__ import annotations

from typing import Any

from hearth.backup.entries import entries

COLLECTOR = "config_backup"


def test_the_program_knows_what_this_guests_roles_keep(guest: Any, host: Any, under_test: Any) -> None:
    settings = host.file("/etc/hearth/state.json")
    assert settings.exists
    for entry in entries(guest, under_test.roles):
        assert f'"{entry["name"]}"' in settings.content_string


def test_the_collector_is_let_in_for_one_command(guest: Any, host: Any, under_test: Any) -> None:
    keys = host.file("/etc/hearth/backup-login/.ssh/authorized_keys")
    if not under_test.fleet.with_role(COLLECTOR) or not entries(guest, under_test.roles):
        assert not keys.exists
        return
    lines = keys.content_string.splitlines()
    assert len(lines) == 1
    assert 'command="sudo -n /usr/local/sbin/hearth-state dump"' in lines[0]
    assert lines[0].startswith("restrict,from=")
    assert (keys.user, keys.group, keys.mode) == ("root", "root", 0o644)
    allowed = host.run("sudo -n -l -U hearth-backup")
    assert allowed.stdout.count("NOPASSWD") == 1
    assert "/usr/local/sbin/hearth-state dump" in allowed.stdout

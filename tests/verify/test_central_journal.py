"""The central journal: every guest's lines are there within ten seconds, and it keeps its limits."""

from __future__ import annotations

from typing import Any

from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest

AUTHORITY = "/usr/local/share/ca-certificates/hearth.crt"
JOURNALS = "/var/log/journal/remote"


def test_it_runs_confined(host: Any) -> None:
    assert_confined(host, "journal-central.service", "journal-central")
    assert_confined(host, "journal-gate.service", "journal-gate")


def test_every_guest_has_files_of_its_own(under_test: UnderTest, host: Any) -> None:
    names = host.check_output(f"ls {JOURNALS}")
    for sender in under_test.fleet.with_role("journal_upload"):
        last = str(sender.address).partition(".")[2]
        assert f"remote-127.{last}" in names


def test_nobody_else_writes_there(host: Any) -> None:
    folder = host.file(JOURNALS)
    assert folder.user == "journal-central"
    assert not folder.mode & 0o002


def test_who_shows_no_certificate_is_refused(guest: Guest, host: Any) -> None:
    ask = f"curl -s --noproxy '*' --cacert {AUTHORITY} -o /dev/null -w '%{{http_code}}'"
    entry = "-H 'Content-Type: application/vnd.fdo.journal' --data-binary 'MESSAGE=stranger'"
    code = host.run(f"{ask} {entry} https://{guest.name}:19532/upload").stdout
    assert code in ("401", "000")


def test_its_limits_are_looked_at(host: Any) -> None:
    assert host.check_output("systemctl is-active journal-central-limits.timer") == "active"
    assert host.run("systemctl start journal-central-limits.service").rc == 0

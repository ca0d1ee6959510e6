"""What is written in a guest's journal is found centrally within ten seconds."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest

WITHIN = 10  # seconds
JOURNALS = "/var/log/journal/remote"


def test_it_runs_confined(host: Any) -> None:
    assert_confined(host, "journal-upload.service", "journal-upload", steady=False)


def test_its_key_is_its_own(host: Any) -> None:
    file = host.file("/etc/journal-upload/client.key")
    assert (file.user, file.mode) == ("journal-upload", 0o600)


def test_a_line_is_found_centrally_within_ten_seconds(under_test: UnderTest, guest: Guest, host: Any) -> None:
    (server,) = under_test.fleet.with_role("central_journal")
    word = f"hearth-verify-{uuid.uuid4()}"
    host.check_output(f"echo {word} | systemd-cat -t hearth-verify")
    end = time.monotonic() + WITHIN
    search = f"journalctl -D {JOURNALS} -q -o cat --since=-5min -t hearth-verify --grep={word}"
    while word not in under_test.host(server).run(search).stdout:
        assert time.monotonic() < end, f"{guest.name}'s line did not arrive"
        time.sleep(0.5)

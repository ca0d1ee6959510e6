"""A guest whose SSH host key changed, although nobody made it anew, is not talked to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.twin.annex_kit import Annex

ASIDE = "/root/host-keys"


@pytest.fixture
def other_key(annex: Annex) -> Iterator[Annex]:
    """The annex shows another host key; afterwards its own again."""
    home = annex.home
    # In one go: without keys sshd lets nobody in.
    anew = f"cp -a /etc/ssh {ASIDE}; rm /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null"
    home.said("annex", f"set -e; {anew}; systemctl restart ssh; touch /run/since")
    yield annex
    again = f"rm /etc/ssh/ssh_host_*; cp -a {ASIDE}/ssh_host_* /etc/ssh; rm -r {ASIDE}"
    home.said("annex", f"set -e; {again}; systemctl restart ssh")


def test_it_is_an_error_that_says_where_and_what_to_do_and_nothing_is_done(other_key: Annex) -> None:
    home = other_key.home
    known = home.state_dir / "known_hosts"
    before = known.read_bytes()
    lines = known.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("192.168.1.150 "))

    done = home.deploy("--data", "mosquitto_log_level=debug")

    done.refused(f"line {number} of {known}", "ssh-keygen -R 192.168.1.150", "192.168.1.150")
    assert done.writes == []
    assert known.read_bytes() == before
    assert home.said("annex", "find /etc -newer /run/since -type f") == ""


def test_its_own_key_is_trusted_as_before(annex: Annex) -> None:
    annex.home.deploy("--limit", "annex").silent()

"""Every credential of the whole home is rotated, also by killed runs: the new ones hold, no old one does."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import WHOLE, Home
from tests.twin.rotation_kit import Credentials, Tried

pytestmark = pytest.mark.long
ROTATE = ("pyinfra", "inventory", "rotate.py", "-y")
KINDS = {
    "ai-automation/token",
    "home-assistant",
    "home-assistant/token",
    "mcp-hub/token",
    "mqtt",
    "postgresql",
    "zigbee2mqtt",
}
WITHIN = 120  # seconds: programs come back, and tell each other


@pytest.fixture
def tried(home: Home) -> Iterator[Tried]:
    """The home; afterwards it is whole."""
    yield Tried(home)
    if phases(home):
        home.run(*ROTATE, patience=2 * WHOLE).went_well()


def phases(home: Home) -> set[str]:
    """How far the rotations are that have not ended."""
    store = home.secrets
    kept = [store.get(name).reveal() for name in store.names() if name.startswith("rotating/")]
    return {found.group(1) for text in kept if (found := re.search('"phase": "([a-z]+)"', text))}


def rotated(before: Credentials, now: Credentials) -> set[str]:
    """The credentials that have another value, or another user, than before."""
    return {name for name in before if now.get(name) != before[name]}


def judge(tried: Tried, before: Credentials) -> None:
    """What is current opens; whatever was replaced does not."""
    now = tried.current()
    changed = rotated(before, now)
    assert {name.partition("@")[0].rpartition("/")[0] for name in changed} == KINDS
    for name, value in now.items():
        until(lambda name=name, value=value: tried.opens(name, value) or None, WITHIN)
    for name in changed:
        assert not tried.opens(name, before[name]), f"the old {name} still opens"


def test_everything_is_rotated_and_no_old_credential_holds(tried: Tried) -> None:
    home = tried.home
    before, vault = tried.current(), home.secret("vaultwarden/admin-token")
    assert all(tried.opens(name, value) for name, value in before.items())
    done = home.run(*ROTATE, "--data", "rotate=all", patience=2 * WHOLE).went_well()
    judge(tried, before)
    assert home.secret("vaultwarden/admin-token") != vault  # tests/verify: the page takes the new one alone
    for value in (*before.values(), *tried.current().values()):
        assert value not in done.text
    home.deploy(patience=WHOLE).silent()
    home.verify().went_well()


@pytest.mark.parametrize("phase", ["offered", "switched", "withdrawn"])
def test_a_run_that_was_killed_is_completed_by_the_next(tried: Tried, phase: str) -> None:
    home = tried.home
    before = tried.current()
    run = home.start(*ROTATE, "--data", "rotate=all", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: phases(home) == {phase} or (run.poll() is not None) or None, WHOLE)
        assert run.poll() is None, f"it ended before it was {phase}"
        time.sleep(10)  # somewhere within the phase
    finally:
        run.kill()
        run.wait()
    assert phases(home) == {phase}
    home.run(*ROTATE, patience=2 * WHOLE).went_well()
    assert phases(home) == set()
    judge(tried, before)

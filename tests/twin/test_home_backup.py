"""States of real guests collected, a guest lost, and back with its state and its identity."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.twin.home_kit import WHOLE, Home

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def backed(home: Home) -> Iterator[Home]:
    """The whole home, and afterwards too."""
    home.deploy(patience=WHOLE).went_well()
    home.deploy(patience=WHOLE).silent()
    yield home
    home.deploy(patience=WHOLE).went_well()


def test_every_guest_is_collected(backed: Home) -> None:
    backed.said("data", "systemctl start hearth-backup.service")
    metrics = backed.said("data", "cat /var/lib/prometheus/node-exporter/hearth_backup.prom")
    assert 'hearth_backup_ok{job="collect"} 1' in metrics
    for guest in backed.fleet.guests:
        if not guest.appliance:
            assert f'hearth_backup_guest_ok{{guest="{guest.name}"}} 1' in metrics


def test_a_lost_guest_is_back_with_its_state_and_its_identity(backed: Home) -> None:
    def status() -> dict[str, object]:
        found = json.loads(backed.said("comms", "tailscale status --json --peers=false"))
        return {key: found["Self"][key] for key in ("ID", "PublicKey", "HostName")}

    key = backed.said("comms", "cat /var/lib/zigbee2mqtt/database.db")
    before = status()
    backed.said("data", "systemctl start hearth-backup.service")
    backed.run("pyinfra", "inventory", "teardown.py", "-y", "--data", "destroy=comms").went_well()
    done = backed.run(
        "pyinfra", "inventory", "restore.py", "-y", "--data", "restore=comms", patience=WHOLE
    ).went_well()
    assert "MISSED" not in done.text
    assert status() == before, "not joined again"
    assert backed.said("comms", "cat /var/lib/zigbee2mqtt/database.db") == key
    backed.deploy(patience=WHOLE).silent()

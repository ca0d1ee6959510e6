"""`hearth secrets status`: ages, users, what is due, and the exit code."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_hearth_command import FLEET

from hearth.pki import Authority
from hearth.secrets import SecretStore

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]
Fill = Callable[..., None]


@pytest.fixture
def fill(project: Path) -> Fill:
    """Put secrets into the project's file as if some days ago; a certificate of the guest comms with them."""
    (project / "inventory" / "fleet.yaml").write_text(FLEET)

    def put(days: float = 0, certificate_days: float = 0, **values: str) -> None:
        key = project / "config" / "age.key"
        now = datetime.now(UTC)
        store = SecretStore(
            project / "inventory" / "secrets.age", key, {}, lambda: now - timedelta(days=days)
        )
        for name, value in values.items():
            store.put(name, value)
        if certificate_days:
            Authority(store, lambda: now - timedelta(days=certificate_days)).leaf("comms", [], [])
        store.save()

    return put


def rows(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_nothing_due(hearth: Hearth, fill: Fill) -> None:
    fill(days=100, certificate_days=1, **{"mqtt/kitchen": "canary-1", "mqtt-salt/kitchen": "canary-2"})
    done = hearth("secrets", "status")
    assert done.returncode == 0
    assert "mqtt/kitchen" in done.stdout
    assert "mqtt-salt" not in done.stdout
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(("name", "days"), [("mqtt/kitchen", 366), ("proxmox/token", 181)])
def test_something_is_due(hearth: Hearth, fill: Fill, name: str, days: int) -> None:
    fill(days=1, young="x")
    fill(days=days, **{name: "canary"})
    done = hearth("secrets", "status")
    assert done.returncode == 1
    assert f"--data rotate={name}" in done.stdout
    done = hearth("secrets", "status", "--json")
    assert done.returncode == 1
    found = rows(done)
    assert (found[name]["due"], found[name]["age_days"]) == (True, days)
    assert not found["young"]["due"]
    assert "canary" not in done.stdout


@pytest.mark.parametrize(("age", "is_due"), [(366, False), (368, True), (400, True)])
def test_certificates_by_their_end(hearth: Hearth, fill: Fill, age: float, is_due: bool) -> None:
    fill(days=1, certificate_days=age)
    done = hearth("secrets", "status", "--json")
    assert rows(done)["tls/comms/cert"]["due"] is is_due
    assert done.returncode == (1 if is_due else 0)


def test_the_admins_policy(hearth: Hearth, fill: Fill, project: Path) -> None:
    fill(days=20, **{"mqtt/kitchen": "canary", "mqtt/garden": "canary"})
    (project / "group_data").mkdir()
    tuned = project / "group_data" / "secrets.py"
    tuned.write_text('secrets_due = {"mqtt/garden": None, "mqtt/*": 10}\n')
    found = rows(hearth("secrets", "status", "--json"))
    assert (found["mqtt/kitchen"]["due"], found["mqtt/garden"]["due"]) == (True, False)
    tuned.write_text("secrets_due = []\n")
    assert "secrets_due" in hearth("secrets", "status").stderr


def test_a_rotation_that_has_not_ended_is_due(hearth: Hearth, fill: Fill) -> None:
    fill(days=1, **{"mqtt/kitchen": "canary", "rotating/mqtt/kitchen": "canary"})
    done = hearth("secrets", "status", "--json")
    assert done.returncode == 1
    assert list(rows(done)) == ["mqtt/kitchen"]


def test_other_sources_have_their_own_ages(hearth: Hearth, fill: Fill) -> None:
    fill(days=900, **{"proxmox/token": "canary", "x": "bw://Item"})
    found = rows(hearth("secrets", "status", "--json", PROXMOX_VE_API_TOKEN="canary-env"))
    assert (found["proxmox/token"]["source"], found["proxmox/token"]["due"]) == ("environment", False)
    assert (found["x"]["source"], found["x"]["age_days"]) == ("Bitwarden", None)


def test_no_fleet_file(hearth: Hearth, project: Path) -> None:
    done = hearth("secrets", "status")
    assert done.returncode == 1
    assert "fleet.yaml" in done.stderr

"""A role whose program is a release has its data kept, and refuses an older one before it writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ops_kit import Absent, preparing
from role_kit import FakeRun, fleet, group_data, guest

from hearth import run as runs
from hearth.backup.entries import entries
from hearth.fleet.model import Tailnet
from hearth.ops import release
from hearth.ops.release_scripts import Switch
from hearth.role.here import Here

ADAPTER = {"zigbee2mqtt_adapter": "tcp://192.168.1.9:6638", "zigbee2mqtt_adapter_type": "zstack"}
FILE = {"url": "https://x.example/it_1.2.3_linux.tgz", "sha256": "a" * 64}
# Role, its group_data; what builds it, and the first operation that a refusal has to come before.
CASES = [
    ("vaultwarden", {}, "Take Vaultwarden's image", "Bring the programs that try"),
    (
        "vaultwarden",
        {"vaultwarden_install": "quadlet"},
        "Note Vaultwarden's image",
        "Bring the programs that try",
    ),
    (
        "zigbee2mqtt",
        ADAPTER,
        "Build Zigbee2MQTT",
        "Give Zigbee2MQTT",
    ),
    ("headscale", {}, "Take headscale", "Give headscale its user"),
    ("ntfy", {}, "Take ntfy", "Give ntfy its user"),
    ("tailscale", {"tailscale_source": FILE}, "Take Tailscale", "Run Tailscale"),
    ("mcp_hub", {}, "Build the MCP hub", "Configure the MCP hub"),
    ("ai_automation", {}, "Build AI automation", "Configure AI automation"),
    (
        "home_assistant",
        {"home_assistant_install": "core"},
        "Install Home Assistant",
        "Bring the programs that dump",
    ),
    (
        "home_assistant",
        {"home_assistant_install": "container"},
        "Note Home Assistant's image",
        "Bring the programs that dump",
    ),
]
IDS = [f"{role}-{number}" for number, (role, *_) in enumerate(CASES)]


class Gone(Absent):
    """A guest that is not there, for what would open a connection of its own."""

    def reach(self) -> None:
        raise OSError("there is no guest")


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[Switch]:
    """What is given to the script that switches."""
    found: list[Switch] = []
    activating = release.scripts.activating

    def seen(job: Switch, steps: Any) -> str:
        found.append(job)
        return activating(job, steps)

    monkeypatch.setattr(release.scripts, "activating", seen)
    return found


def planned(role: str, monkeypatch: pytest.MonkeyPatch, **data: Any) -> list[str]:
    """The operations of a role on a guest that is not there, by name and in order."""
    roles = ("mosquitto", "tailscale", *([role] if role != "tailscale" else []))
    it = guest("comms", 135, *roles)
    run = FakeRun(fleet(it))
    object.__setattr__(run.fleet, "tailnet", Tailnet(domain="home.ts.net", server="https://x.example"))
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Gone()
        host.data = group_data(**data)
        deployer = run.roles[role].deployer
        assert deployer
        deployer(Here(run, it, host, run.roles[role]))
        return [next(iter(host.state.get_op_meta(key).names)) for key in host.state.ops[host]]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_it_is_built_before_anything_is_written_and_its_data_are_kept(
    case: tuple[str, dict[str, Any], str, str], switches: list[Switch], monkeypatch: pytest.MonkeyPatch
) -> None:
    role, data, builds, writes = case
    names = planned(role, monkeypatch, **data)
    place = {
        word: next(i for i, name in enumerate(names) if name.startswith(word)) for word in (builds, writes)
    }
    assert place[builds] < place[writes], names
    (job,) = switches
    assert job.role == role
    # What the guest's program finds under that name is what the role keeps.
    run = FakeRun(fleet(guest("comms", 135, role)))
    kept = [entry for entry in entries(run.fleet.guest("comms"), run.roles) if entry["role"] == job.role]
    assert [entry["path"] for entry in kept] == [state.path for state in run.roles[role].state]
    assert bool(kept) is (role != "mcp_hub")


def test_no_role_that_switches_releases_is_forgotten() -> None:
    project = Path(__file__).parents[3]
    using = {
        path.parent.name if path.parent.name != "roles" else path.stem
        for path in (project / "roles").rglob("*.py")
        if "release.active(" in path.read_text() or "Application(" in path.read_text()
    }
    assert using == {role for role, *_ in CASES}


def test_home_assistants_own_backups_stay_where_they_are() -> None:
    run = FakeRun(fleet(guest("comms", 135, "home_assistant")))
    (found,) = entries(run.fleet.guest("comms"), run.roles)
    assert found["apart"] == ["backups"]

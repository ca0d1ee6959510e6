"""What drift makes of a tailnet, asked of the stand-in with GETs only; and what a part that fails does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tailnet_stand_in import API_KEY, Tailscale

from hearth import run as runs
from hearth.drift import look as drift
from hearth.drift.finding import Collected, Drift, Finding
from hearth.errors import HearthError
from hearth.options import Options

FLEET = """\
nodes:
  pve: {address: 192.0.2.1, storage: local-lvm, images: local}
networks:
  lan: {bridge: vmbr0, subnet: 192.0.2.0/24, gateway: 192.0.2.254}
images:
  debian: {kind: lxc, url: "http://example.org/debian.tar.zst"}
tailnet: {domain: tail.example}
guests:
  comms: {kind: lxc, address: 192.0.2.135, image: debian, disk: 8 GiB}
  data: {kind: lxc, address: 192.0.2.136, image: debian, disk: 8 GiB}
"""
ROLE = """\
from hearth.role.declaration import Role

role = Role()


@role.deploy
def deploy(here):
    pass
"""
POLICY = '// Ours.\n{"acls": [{"action": "accept", "src": ["*"], "dst": ["comms:22"]}]}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(FLEET)
    (tmp_path / "inventory" / "policy.hujson").write_text(POLICY)
    (tmp_path / "roles").mkdir()
    for name in ("base", "tailscale"):
        (tmp_path / "roles" / f"{name}.py").write_text(ROLE)
    return tmp_path


@pytest.fixture
def at_home(project: Path, tailscale: Tailscale) -> drift.Look:
    """A look at a home whose guests all run."""
    environ = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HEARTH_", "TAILSCALE_"))
        },
        "HEARTH_AGE_KEY_FILE": str(project / "age.key"),
        "TAILSCALE_BASE_URL": tailscale.url,
        "TAILSCALE_API_KEY": API_KEY,
    }
    found = drift.Look(runs.begin(project, Options(dry=True), environ))
    found.__dict__["inside"] = frozenset({"comms", "data"})
    tailscale.policy = POLICY
    return found


def tailnet(look: drift.Look, tailscale: Tailscale) -> list[str]:
    into = Collected()
    drift.of_tailnet(look, into)
    assert {asked.method for asked in tailscale.asked} == {"GET"}
    return [f"{finding.subject}: {finding}" for finding in into.findings]


def test_a_tailnet_as_it_should_be_is_silent(at_home: drift.Look, tailscale: Tailscale) -> None:
    for name in ("comms", "data"):
        tailscale.add(name)
    tailscale.add("phone", tags=[])
    assert tailnet(at_home, tailscale) == []


def test_devices_and_routes(at_home: drift.Look, tailscale: Tailscale) -> None:
    tailscale.add("comms", advertisedRoutes=["192.0.2.0/24"])
    tailscale.add("old", connectedToControl=False)
    found = tailnet(at_home, tailscale)
    assert [line.partition(": tailnet device ")[0] for line in found] == ["comms", "data", "home"]
    assert "offers 192.0.2.0/24, which is not approved" in found[0]
    assert "is not in the tailnet" in found[1]
    assert "old: wears our tag" in found[2]


def test_of_a_guest_that_does_not_run_only_proxmox_speaks(at_home: drift.Look, tailscale: Tailscale) -> None:
    tailscale.add("comms")
    at_home.__dict__["inside"] = frozenset({"comms"})
    assert tailnet(at_home, tailscale) == []


def test_a_policy_that_somebody_changed(at_home: drift.Look, tailscale: Tailscale) -> None:
    for name in ("comms", "data"):
        tailscale.add(name)
    tailscale.policy = POLICY.replace("comms:22", "*:*")
    (line,) = tailnet(at_home, tailscale)
    assert line.startswith("home: policy inventory/policy.hujson: ")


def test_where_the_project_keeps_no_policy_none_is_compared(
    at_home: drift.Look, tailscale: Tailscale, project: Path
) -> None:
    (project / "inventory" / "policy.hujson").unlink()
    for name in ("comms", "data"):
        tailscale.add(name)
    assert tailnet(at_home, tailscale) == []


def test_a_part_that_cannot_be_asked_stops_no_other(at_home: drift.Look) -> None:
    def broken(look: Any, into: Collected) -> None:
        into.findings.append(Finding("a", "guest", "", "before it broke"))
        raise HearthError("ask the server", "it is away", "wait")

    def fine(look: Any, into: Collected) -> None:
        into.findings.append(Finding("b", "guest", "", "found"))

    found: Drift = drift.look(at_home.run, (("tailnet", broken), ("rest", fine)))
    assert [finding.field for finding in found.findings] == ["before it broke", "found"]
    assert [trouble.reason for trouble in found.troubles] == [
        "tailnet: cannot ask the server: it is away (wait)"
    ]
    assert found.code == 1


def test_nothing_to_look_at_is_never_taken_for_all_is_well(at_home: drift.Look) -> None:
    """The API is away: every guest is named."""
    into = Collected()
    at_home.run.survey.__dict__["_answers"] = {"pve": HearthError("ask pve", "it is away")}
    drift.of_guests(at_home, into)
    assert [trouble.subject for trouble in into.troubles] == ["comms", "data"]

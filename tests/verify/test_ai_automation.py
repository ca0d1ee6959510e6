"""AI automation, by its own interface: its rules are there, and nothing for who brings no token."""

from __future__ import annotations

from typing import Any

import pytest
from patience import settled
from rest import Rest
from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest

OURS = {"path": "apps/ai_automation"}
UNIT = "ai-automation.service"
PROBED = 60  # seconds: it looks for its neighbours every half a minute, and may have started before them


@pytest.fixture
def automations(under_test: UnderTest, guest: Guest) -> Rest:
    """The automations of a guest."""
    if under_test.values["ai_automation_source"] != OURS:
        pytest.skip("it is the admin's own program: only its port is checked")
    return Rest(under_test, guest, 5000, "ai-automation/token/hearth-verify")


def test_it_is_well_and_so_is_what_it_acts_through(automations: Rest, under_test: UnderTest) -> None:
    peers = ("home_assistant", "mcp_hub")
    expected = ["ok" if under_test.fleet.with_role(peer) else "not_configured" for peer in peers]

    def look() -> list[Any]:
        status, health = automations.ask("/health", token=None)
        return [status, health["status"], health["mqtt"], *(health[peer] for peer in peers)]

    well = [200, "ok", "connected", *expected]
    assert settled(look, well, PROBED) == well


def test_its_rules_are_those_of_group_data(automations: Rest, under_test: UnderTest) -> None:
    status, answer = automations.ask("/api/automations")
    assert status == 200
    assert set(under_test.values["ai_automation_alarms"]) <= {rule["id"] for rule in answer["automations"]}


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/automations"), ("GET", "/api/runs"), ("POST", "/api/automations/any/trigger")],
)
def test_who_brings_no_token_learns_and_does_nothing(
    automations: Rest, method: str, path: str, token: str | None
) -> None:
    assert automations.ask(path, token=token, method=method)[0] == 401


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, UNIT, "ai-automation")


@pytest.mark.parametrize("name", ["config.yaml", "secrets.yaml"])
def test_only_it_reads_its_secrets(host: Any, name: str) -> None:
    file = host.file(f"/etc/ai-automation/{name}")
    assert (file.user, file.mode) == ("ai-automation", 0o600)

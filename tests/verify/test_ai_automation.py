"""AI automation, by its own interface: its rules are there, and nothing for who brings no token."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

OURS = {"path": "apps/ai_automation"}
UNIT = "ai-automation.service"
PROBED = 60  # seconds: it looks for its neighbours every half a minute, and may have started before them


class Automations:
    """The automations of a guest, through its front."""

    def __init__(self, under_test: UnderTest, guest: Guest) -> None:
        if under_test.values["ai_automation_source"] != OURS:
            pytest.skip("it is the admin's own program: only its port is checked")
        self.tls = under_test.tls()
        self.url = f"https://{address_of(guest)}:5000"
        self.token = under_test.secret("ai-automation/token/hearth-verify")

    def ask(self, path: str, token: str | None = "", method: str = "GET") -> tuple[int, Any]:
        """Status and JSON of an answer; with the verifier's token, another one, or (None) without any."""
        headers = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self.tls) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def automations(under_test: UnderTest, guest: Guest) -> Automations:
    """The automations."""
    return Automations(under_test, guest)


def test_it_is_well_and_so_is_what_it_acts_through(automations: Automations, under_test: UnderTest) -> None:
    present = {role: bool(under_test.fleet.with_role(role)) for role in ("home_assistant", "mcp_hub")}
    wanted = {role: "ok" if there else "not_configured" for role, there in present.items()}
    deadline = time.monotonic() + PROBED
    while True:
        status, health = automations.ask("/health", token=None)
        found = {role: health[role] for role in wanted}
        if found == wanted or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert (status, health["status"], health["mqtt"]) == (200, "ok", "connected")
    assert found == wanted


def test_its_rules_are_those_of_group_data(automations: Automations, under_test: UnderTest) -> None:
    status, answer = automations.ask("/api/automations")
    assert status == 200
    assert set(under_test.values["ai_automation_alarms"]) <= {rule["id"] for rule in answer["automations"]}


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/automations"), ("GET", "/api/runs"), ("POST", "/api/automations/any/trigger")],
)
def test_who_brings_no_token_learns_and_does_nothing(
    automations: Automations, method: str, path: str, token: str | None
) -> None:
    assert automations.ask(path, token, method)[0] == 401


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, UNIT, "ai-automation")


@pytest.mark.parametrize("name", ["config.yaml", "secrets.yaml"])
def test_only_it_reads_its_secrets(host: Any, name: str) -> None:
    file = host.file(f"/etc/ai-automation/{name}")
    assert (file.user, file.mode) == ("ai-automation", 0o600)

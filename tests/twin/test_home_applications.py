"""The hub and the automations on a real guest: what they restart, what they refuse, and how they go back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.twin import little_hub
from tests.twin.home_kit import Done, Home

pytestmark = pytest.mark.long
HUB, AUTOMATION = "mcp-hub.service", "ai-automation.service"
LITTLE = {
    "mcp_hub_command": "{runtime}/bin/node {release}/server.js",
    "mcp_hub_check": None,
    "mcp_hub_health": "/",
    "mcp_hub_starts_within": 20,
}


class Guest:
    """The guest with both applications, and what the admin writes about them."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.overrides = place / "overrides.yaml"
        self.name = home.fleet.with_role("mcp_hub")[0].name
        if "ai_automation" not in home.fleet.guest(self.name).roles:
            pytest.skip("both applications are expected on one guest")

    def deploy(self, **values: Any) -> Done:
        """A deploy of this guest with other values of group_data."""
        env = self.home.with_values(self.overrides, **values)
        return self.home.deploy("--limit", self.name, env=env, patience=900)

    def process(self, unit: str) -> str:
        """A unit's main process."""
        return self.home.said(self.name, f"systemctl show -p MainPID --value {unit}")

    def version(self) -> str:
        """What the little hub says it is."""
        return self.home.said(self.name, "curl -s --noproxy '*' http://127.0.0.1:13000/")

    def said(self, command: str) -> str:
        """A shell command's output."""
        return self.home.said(self.name, command)


@pytest.fixture
def guest(home: Home, tmp_path: Path) -> Iterator[Guest]:
    """The guest; afterwards it is as it was."""
    found = Guest(home, tmp_path)
    yield found
    found.deploy().went_well()


def test_a_change_of_one_touches_nothing_of_the_other(guest: Guest) -> None:
    """A log level is reloaded by the hub, a client too; the automations have to be restarted for it."""
    hub, automation = guest.process(HUB), guest.process(AUTOMATION)
    client = {"tablet": {"scopes": ["read"]}}
    guest.deploy(mcp_hub_log_level="debug", mcp_hub_clients=client).went_well()
    assert (guest.process(HUB), guest.process(AUTOMATION)) == (hub, automation)
    token = guest.home.secret("mcp-hub/token/tablet")
    asked = f"curl -sf --noproxy '*' -H 'Authorization: Bearer {token}' http://127.0.0.1:13000/api/servers"
    assert "servers" in json.loads(guest.said(asked))
    guest.deploy(ai_automation_log_level="debug").went_well()
    assert guest.process(HUB) == hub
    assert guest.process(AUTOMATION) != automation
    guest.deploy(ai_automation_log_level="debug").silent()


def test_a_rule_is_reloaded_and_goes_again(guest: Guest, tmp_path: Path) -> None:
    before = guest.process(AUTOMATION)
    rule = {"id": "from_the_admin", "triggers": [{"rest": {}}], "actions": [{"wait": {"seconds": 0.1}}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"automations": [rule]}))
    token = guest.home.secret("ai-automation/token/hearth-verify")
    asked = f"curl -s --noproxy '*' -H 'Authorization: Bearer {token}' http://127.0.0.1:15000/api/automations"
    guest.deploy(ai_automation_rules=[str(tmp_path / "mine.yaml")]).went_well()
    assert "from_the_admin" in guest.said(asked)
    guest.deploy().went_well()
    assert "from_the_admin" not in guest.said(asked)
    assert guest.process(AUTOMATION) == before


@pytest.mark.parametrize(
    ("unit", "values", "words"),
    [
        (HUB, {"mcp_hub_log_level": "loud"}, ["logLevel", "one of error, warn, info, debug"]),
        (HUB, {"mcp_hub_limits": {"bodyBytes": 1}}, ["limits.bodyBytes"]),
        (AUTOMATION, {"ai_automation_log_level": "loud"}, ["log_level", "debug, info, warning or error"]),
        (
            AUTOMATION,
            {"ai_automation_alarms": {"Bad Name": {"notify": "x"}}},
            ["Bad Name", "rules/hearth.yaml"],
        ),
    ],
)
def test_a_broken_configuration_is_refused_in_the_programs_words(
    guest: Guest, unit: str, values: dict[str, Any], words: list[str]
) -> None:
    before = guest.process(unit), guest.said("sha256sum /etc/mcp-hub/* /etc/ai-automation/*.yaml")
    guest.deploy(**values).refused(*words, "kept as it was")
    assert (guest.process(unit), guest.said("sha256sum /etc/mcp-hub/* /etc/ai-automation/*.yaml")) == before


def updated_and_rolled_back(guest: Guest, sources: dict[str, dict[str, str]], command: str) -> None:
    """1.0.0 takes the hub's place, 2.0.0 takes that of 1.0.0, and 9.0.0 cannot keep it."""
    values = {**LITTLE, "mcp_hub_command": f"{{runtime}}/bin/node {{release}}/{command}"}
    for version in ("1.0.0", "2.0.0"):
        guest.deploy(**values, mcp_hub_source=sources[version]).went_well()
        assert guest.version() == version
    guest.deploy(**values, mcp_hub_source=sources["2.0.0"]).silent()
    failed = guest.deploy(**values, mcp_hub_source=sources["9.0.0"])
    failed.refused("mcp-hub.service: not healthy within", "503", "went back to", "it is healthy")
    assert guest.version() == "2.0.0"
    guest.deploy(**values, mcp_hub_source=sources["2.0.0"]).silent()


VERSIONS = ["1.0.0", "2.0.0", "9.0.0"]


def test_a_project_by_path_is_deployed_updated_and_rolled_back(guest: Guest, tmp_path: Path) -> None:
    sources = {version: little_hub.project(tmp_path / version, version) for version in VERSIONS}
    updated_and_rolled_back(guest, sources, "server.js")


def test_a_project_by_git_url_is_deployed_updated_and_rolled_back(guest: Guest, tmp_path: Path) -> None:
    with little_hub.repository(guest.home.twin, tmp_path, VERSIONS) as sources:
        branch = {**sources["1.0.0"], "rev": "main"}
        guest.deploy(**LITTLE, mcp_hub_source=branch).refused(
            "has no tag main", "write a whole commit or a tag"
        )
        commit = little_hub.git(tmp_path / "work", "rev-parse", "v2.0.0^{commit}").decode().strip()
        updated_and_rolled_back(guest, {**sources, "2.0.0": {**branch, "rev": commit}}, "server.js")


def test_a_package_is_deployed_updated_and_rolled_back(guest: Guest, tmp_path: Path) -> None:
    with little_hub.registry(guest.home.twin, tmp_path, VERSIONS) as sources:
        updated_and_rolled_back(guest, sources, "node_modules/little-hub/server.js")

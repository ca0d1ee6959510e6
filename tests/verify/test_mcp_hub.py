"""The MCP hub, by its own interfaces: REST, WebSocket and MQTT, and nothing for who brings no token."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from mqtt_client import Mqtt
from patience import settled
from rest import Rest
from sandbox import assert_confined
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.role.acl import service_user

OURS = {"path": "apps/mcp_hub"}
UNIT = "mcp-hub.service"
AGAIN = 90  # seconds: it may have started before its servers, and tries again ever more slowly


@pytest.fixture
def hub(under_test: UnderTest, guest: Guest) -> Rest:
    """The hub of a guest."""
    if under_test.values["mcp_hub_source"] != OURS:
        pytest.skip("it is the admin's own program: only its port is checked")
    return Rest(under_test, guest, 3000, "mcp-hub/token/hearth-verify")


def test_it_is_well_and_says_how_its_servers_are(hub: Rest, under_test: UnderTest) -> None:
    wanted = "connected" if under_test.fleet.with_role("home_assistant") else None

    def look() -> tuple[int, Any, Any]:
        status, health = hub.ask("/health", token=None)
        return status, health["mqtt"]["state"], health["servers"].get("home_assistant", {}).get("state")

    well = (200, "connected", wanted)
    assert settled(look, well, AGAIN) == well


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize("path", ["/api/servers", "/api/tools", "/api/events"])
def test_who_brings_no_token_learns_nothing(hub: Rest, path: str, token: str | None) -> None:
    status, answer = hub.ask(path, token=token)
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


def test_a_token_may_do_no_more_than_it_is_for(hub: Rest) -> None:
    """The verifier sees tools and uses none: a check does nothing to the home."""
    assert hub.ask("/api/tools")[0] == 200
    status, answer = hub.ask("/api/servers/home_assistant/tools/any", {"arguments": {}})
    assert (status, answer["error"]["code"]) == (403, "scope_missing")


def test_home_assistants_tools_are_there(hub: Rest, under_test: UnderTest) -> None:
    if not under_test.fleet.with_role("home_assistant"):
        pytest.skip("no guest has the role home_assistant")
    servers = {tool["server"] for tool in hub.ask("/api/tools")[1]["tools"]}
    assert "home_assistant" in servers


def test_an_event_reaches_the_broker(hub: Rest, under_test: UnderTest, guest: Guest) -> None:
    kind = f"verify/{uuid.uuid4()}"
    broker = under_test.fleet.with_role("mosquitto")[0]
    login = under_test.mqtt(service_user("mcp_hub", guest.name))
    with Mqtt(address_of(broker), 8883, *login, under_test.tls()) as client:
        client.subscribe(f"mcp_hub/events/{kind}")
        assert hub.ask("/api/events", {"type": kind, "data": {"n": 1}})[0] == 201
        found = client.message()
    assert found.topic == f"mcp_hub/events/{kind}"
    assert json.loads(found.payload) == {"n": 1}


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, UNIT, "mcp-hub")


@pytest.mark.parametrize("name", ["config.json", "secrets.json"])
def test_only_the_hub_reads_its_secrets(host: Any, name: str) -> None:
    file = host.file(f"/etc/mcp-hub/{name}")
    assert (file.user, file.mode) == ("mcp-hub", 0o600)

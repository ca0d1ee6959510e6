"""Home Assistant, by its API and with the token for checks: set up, whole, reached only as it should be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from health import TIMEOUT, leads_to_https, plain_http
from sandbox import assert_confined
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.home_assistant.client import Client, Place
from hearth.role.acl import VERIFIER
from hearth.role.tokens import DEPLOYER, ha_clients, token_name

PORT, BEHIND = 8123, 18123
UNIT = "home-assistant.service"
# Of an entity that is there but cannot be used (homeassistant/const.py, STATE_UNAVAILABLE).
AWAY = "unavailable"


@pytest.fixture(scope="session")
def place(under_test: UnderTest, guest: Guest) -> Place:
    """Where it answers everybody."""
    return Place(guest.name, f"https://{address_of(guest)}:{PORT}", trusted=under_test.tls())


@pytest.fixture(scope="session")
def client(under_test: UnderTest, place: Place) -> Iterator[Client]:
    """Logged in with the token for checks."""
    with Client(place, under_test.secret(token_name(VERIFIER))) as found:
        yield found


def test_onboarding_is_done(place: Place) -> None:
    with Client(place) as visitor:
        answer = visitor.answer("GET", "/api/onboarding")
        if answer.status_code != httpx.codes.NOT_FOUND:  # it stays until the next start
            assert all(step["done"] for step in answer.json())
        created = visitor.answer("POST", "/api/onboarding/users", json={})
        assert created.status_code in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST)


def test_nobody_comes_in_without_a_token(place: Place) -> None:
    with Client(place) as visitor:
        assert visitor.answer("GET", "/api/").status_code == httpx.codes.UNAUTHORIZED


def test_it_runs_and_not_in_recovery_mode(client: Client) -> None:
    config = client.call("GET", "/api/config", "read the state")
    assert (config["state"], config["recovery_mode"]) == ("RUNNING", False)


def test_every_client_has_a_token_that_holds(under_test: UnderTest, place: Place) -> None:
    extra = under_test.values["home_assistant_clients"]
    clients = [
        name
        for name in ha_clients(under_test.fleet, under_test.roles, extra)
        if name not in (DEPLOYER, VERIFIER)
    ]
    for name in (VERIFIER, *clients):
        with Client(place, under_test.secret(token_name(name))) as found:
            assert found.answer("GET", "/api/").status_code == httpx.codes.OK, name


def test_no_integration_has_failed(client: Client) -> None:
    entries = client.ask("config_entries/get", "read the integrations")
    failed = {
        row["domain"]: row["state"]
        for row in entries
        if row["state"] in ("setup_error", "migration_error", "failed_unload") and not row["disabled_by"]
    }
    assert failed == {}


def test_it_is_connected_to_the_broker(under_test: UnderTest, client: Client) -> None:
    if not under_test.fleet.with_role("mosquitto"):
        pytest.skip("the fleet has no broker")
    entries = client.ask("config_entries/get", "read the integrations")
    assert [row["state"] for row in entries if row["domain"] == "mqtt"] == ["loaded"]
    flows = client.ask("config_entries/flow/progress", "list the flows in progress")
    assert not [flow for flow in flows if flow["handler"] == "mqtt" and flow["context"]["source"] == "reauth"]


def test_its_history_is_written_and_read(under_test: UnderTest, client: Client, guest: Guest) -> None:
    info = client.ask("recorder/info", "ask the recorder")
    assert info["recording"] and not info["migration_in_progress"]
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    asked = {"filter_entity_id": "sun.sun", "minimal_response": "1"}
    answer = client.answer("GET", f"/api/history/period/{since}", params=asked)
    assert answer.status_code == httpx.codes.OK, "a database that is lost shows here, and nowhere else"
    if under_test.fleet.with_role("postgresql") and under_test.values["home_assistant_install"] != "haos":
        ours = under_test.host(guest).file("/var/lib/home-assistant/hearth/recorder.yaml").content_string
        assert "db_url: !secret hearth_recorder" in ours
        assert not under_test.host(guest).file("/var/lib/home-assistant/home-assistant_v2.db-wal").exists


def test_its_mcp_server_lists_tools(client: Client) -> None:
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = client.answer("POST", "/api/mcp", json=ask, headers={"Accept": "application/json"})
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["result"]["tools"]


def test_there_are_as_many_entities_as_expected(under_test: UnderTest, client: Client) -> None:
    expected = under_test.values["home_assistant_entities"]
    registered = client.ask("config/entity_registry/list", "list the entities")
    states = {row["entity_id"]: row["state"] for row in client.ask("get_states", "read the states")}
    enabled = [row["entity_id"] for row in registered if not row["disabled_by"]]
    away = sorted(name for name in enabled if states.get(name, AWAY) == AWAY)
    assert len(enabled) - len(away) >= expected, f"{len(enabled)} are switched on; not there: {away[:20]}"


def test_an_address_that_a_client_claims_is_not_believed(place: Place) -> None:
    """The proxy says who asks: else a client could escape its ban, or have others banned."""
    with httpx.Client(verify=place.trusted or True, timeout=TIMEOUT, trust_env=False) as other:
        claimed = {"X-Forwarded-For": "203.0.113.9, nonsense"}
        assert other.get(f"{place.url}/manifest.json", headers=claimed).status_code == httpx.codes.OK


def test_no_plain_http_answers_elsewhere(under_test: UnderTest, guest: Guest) -> None:
    answer = plain_http(under_test, guest, PORT)
    assert answer == b"" or leads_to_https(answer) or answer.startswith(b"HTTP/1.1 400"), answer[:100]
    with pytest.raises(OSError):
        socket.create_connection((address_of(guest), BEHIND), TIMEOUT).close()


def test_it_runs_confined_and_has_not_crashed(under_test: UnderTest, host: Any) -> None:
    if under_test.values["home_assistant_install"] != "core":
        pytest.skip("its container, or its own machine, confines it")
    assert_confined(host, UNIT, "homeassistant")


def test_nobody_else_reads_its_secrets(under_test: UnderTest, host: Any) -> None:
    if under_test.values["home_assistant_install"] == "haos":
        pytest.skip("its files are on its own machine")
    there = host.check_output("find /var/lib/home-assistant -maxdepth 0 -perm /o=rwx")
    assert there == ""
    for path in ("/var/lib/home-assistant/hearth/secrets.yaml", "/etc/hearth/home-assistant/token"):
        assert host.file(path).mode == 0o600, path

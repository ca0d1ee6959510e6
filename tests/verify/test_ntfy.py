"""ntfy: nobody reads or writes without a login, and each login may do what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

UNIT, DATA = "ntfy.service", "/var/lib/ntfy"


@pytest.fixture
def server(under_test: UnderTest, guest: Guest) -> Iterator[httpx.Client]:
    """Its web interface, over TLS that the fleet's authority vouches for."""
    base = f"https://{address_of(guest)}:2586"
    with httpx.Client(base_url=base, verify=under_test.tls(), timeout=TIMEOUT, trust_env=False) as client:
        yield client


def test_it_is_healthy(server: httpx.Client) -> None:
    assert server.get("/v1/health").json()["healthy"] is True


@pytest.mark.parametrize("topic", ["alerts", "heartbeat", "anything"])
def test_strangers_neither_read_nor_write(server: httpx.Client, topic: str) -> None:
    assert server.get(f"/{topic}/json?poll=1").status_code == httpx.codes.FORBIDDEN
    assert server.post(f"/{topic}", content="x").status_code == httpx.codes.FORBIDDEN


def test_a_reader_reads_the_alerts_and_nothing_else(under_test: UnderTest, server: httpx.Client) -> None:
    for name in under_test.values["ntfy_readers"]:
        login = (name, under_test.secret(f"ntfy/{name}"))
        assert server.get("/alerts/json?poll=1", auth=login).status_code == httpx.codes.OK
        assert server.post("/alerts", content="x", auth=login).status_code == httpx.codes.FORBIDDEN
        assert server.get("/heartbeat/json?poll=1", auth=login).status_code == httpx.codes.FORBIDDEN


def test_it_runs_confined_and_its_state_is_its_own(host: Any) -> None:
    assert_confined(host, UNIT, "ntfy")
    assert (host.file(DATA).user, host.file(DATA).mode) == ("ntfy", 0o700)
    assert host.file("/etc/ntfy/server.yml").mode == 0o640

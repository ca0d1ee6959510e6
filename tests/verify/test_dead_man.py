"""The dead man: he runs, on another guest than monitoring, and hears its signs of life."""

from __future__ import annotations

import time
from typing import Any

import httpx
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.role.acl import service_user

PATIENCE = 150  # seconds: a sign of life comes every minute


def test_he_runs_confined(host: Any) -> None:
    assert_confined(host, "dead-man.service", "dead-man")


def test_he_does_not_die_with_what_he_watches(guest: Guest) -> None:
    assert not {"monitoring", "alerts"} & set(guest.roles)


def test_a_sign_of_life_is_there_for_him(under_test: UnderTest, guest: Guest) -> None:
    user = service_user("dead_man", guest.name)
    login = (user, under_test.secret(f"ntfy/{user}"))
    (server,) = under_test.fleet.with_role("ntfy")
    url = f"https://{address_of(server)}:2586/heartbeat/json?poll=1&since=300s"
    end = time.monotonic() + PATIENCE
    while True:
        said = httpx.get(url, auth=login, verify=under_test.tls(), timeout=TIMEOUT, trust_env=False)
        assert said.status_code == httpx.codes.OK
        if said.text.strip():
            return
        assert time.monotonic() < end, "no sign of life"
        time.sleep(5)

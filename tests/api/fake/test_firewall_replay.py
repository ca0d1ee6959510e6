"""The fake's firewall answers what a real Proxmox VE answered, request by request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorded_node import recorded_server
from replay import Recorded, differences, recordings

ENOUGH = 80
#: A token that may only read one guest: recordings 803, 804.
AUDITOR = "iac@pve!t1"


def test_recorded_firewall_requests_are_answered_as_recorded(pve_certificates: Path) -> None:
    server, client = recorded_server(pve_certificates)
    pve = server.pve
    client._tokens[AUDITOR] = pve.add_token(AUDITOR, privsep=False)
    put, differing = 0, {}
    with server:
        for one in recordings():
            if "/firewall" not in one.path:
                continue
            answer = client.send(one)
            found = differences(one, answer) if "/log" not in one.path else _log(one, answer.json())
            put += 1
            if found:
                differing[one.index] = f"{one.method} {one.path} {one.params}: {'; '.join(found)}"
    assert differing == {}
    assert put > ENOUGH, "the replay has lost its requests"


def test_recorded_lists_come_back_in_the_recorded_order(pve_certificates: Path) -> None:
    """Position is meaning in a list of rules, and what a reader compares in a set."""
    server, client = recorded_server(pve_certificates)
    server.pve.add_token(AUDITOR, privsep=False)
    with server:
        for one in recordings():
            if "/firewall" not in one.path or one.auth.startswith(AUDITOR):
                continue
            ours = client.send(one).json()["data"] if one.status == 200 else None
            if isinstance(one.body["data"], list) and one.path.rpartition("/")[2] not in (
                "macros",
                "firewall",
            ):
                assert [_told(row) for row in ours] == [_told(row) for row in one.body["data"]], one.path


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "digest"}


def _log(one: Recorded, ours: Any) -> list[str]:
    """A log that was never written is one line, not a list of lines."""
    return [] if one.body["data"] == ours["data"] else [f"{one.body['data']} != {ours['data']}"]

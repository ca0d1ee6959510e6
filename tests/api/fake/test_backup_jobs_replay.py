"""The fake's backup jobs answer what a real Proxmox VE answered, request by request."""

from __future__ import annotations

import re
from pathlib import Path

import requests
from recorded_node import recorded_server
from replay import Recorded, differences, recordings

ENOUGH = 20
AUDITOR = "iac@pve!t1"
JOBS = re.compile(r"/api2/json/cluster/backup(/[^/]+)?")
#: Ids that Proxmox drew by lot: what is deleted by one is another job's here.
DRAWN = re.compile(r"/[0-9a-f]{8}-[0-9a-f-]{27}$")


def test_recorded_requests_are_answered_as_recorded(pve_certificates: Path) -> None:
    server, client = recorded_server(pve_certificates)
    client._tokens[AUDITOR] = server.pve.add_token(AUDITOR, privsep=False)
    put, differing = 0, {}
    with server:
        for one in recordings():
            if not JOBS.fullmatch(one.path) or DRAWN.search(one.path):
                continue
            found = _differences(one, client.send(one))
            put += 1
            if found:
                differing[one.index] = f"{one.method} {one.path} {one.params}: {'; '.join(found)}"
    assert differing == {}
    assert put > ENOUGH, "the replay has lost its requests"


def _differences(one: Recorded, answer: requests.Response) -> list[str]:
    if one.method != "GET" or one.status != 200 or not isinstance(one.body["data"], list):
        return differences(one, answer)
    theirs, ours = one.body["data"], answer.json()["data"]
    # What is drawn by lot, and what follows from the time.
    told = [sorted(str(_told(row)) for row in rows) for rows in (theirs, ours)]
    return [] if told[0] == told[1] else [f"{told[0]} != {told[1]}"]


def _told(row: dict[str, object]) -> list[tuple[str, object]]:
    return sorted((key, value) for key, value in row.items() if key not in ("id", "next-run"))

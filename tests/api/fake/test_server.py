"""The fake is up quickly, serves its own CA and stops clean."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from twin.pve import Pve, Server, furnish


def test_a_token_reads_the_version_over_verified_tls(pve_env: dict[str, str]) -> None:
    answer = requests.get(
        pve_env["PROXMOX_VE_ENDPOINT"] + "/api2/json/version",
        headers={"Authorization": "PVEAPIToken=" + pve_env["PROXMOX_VE_API_TOKEN"]},
        verify=pve_env["PROXMOX_VE_CA_BUNDLE"],
        timeout=5,
    )
    assert answer.status_code == 200
    assert answer.json()["data"]["release"] == "9.2"


def test_it_starts_fast_and_runs_code_between_requests(pve_certificates: Path) -> None:
    Server(Pve(), pve_certificates).start().stop()
    before = time.monotonic()
    pve = Pve()
    furnish(pve)
    with Server(pve, pve_certificates) as server:
        assert server.call(lambda: sorted(pve.nodes)) == ["pve"]
    assert time.monotonic() - before < 1

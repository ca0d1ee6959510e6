"""The fake is up quickly, serves its own CA and stops clean."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import requests

from twin.pve import Pve, Server, furnish
from twin.pve.faults import apply


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


def test_it_stops_although_a_request_hangs(pve_certificates: Path) -> None:
    pve = Pve()
    furnish(pve)
    server = Server(pve, pve_certificates).start()
    apply(pve, "hanging", seconds=100)
    thread = threading.Thread(target=_get_nothing, args=(server,))
    thread.start()
    while not pve.runner.server.connections:
        time.sleep(0.01)
    before = time.monotonic()
    server.stop()
    thread.join()
    assert time.monotonic() - before < 5


def _get_nothing(server: Server) -> None:
    with contextlib.suppress(requests.RequestException):
        requests.get(server.url + "/api2/json/version", verify=str(server.ca_file), timeout=60)

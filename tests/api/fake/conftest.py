"""A plain HTTP client for the tests of the fake itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from twin.pve import Server

#: (method, path, parameters) -> the answer.
Call = Callable[..., requests.Response]


def client(server: Server, token: str) -> Call:
    """Calls with a token: `call("POST", "/nodes/pve/lxc", vmid=100)`; `_json=True` sends a JSON body."""
    http = requests.Session()
    http.trust_env = False
    http.verify = str(server.ca_file)
    http.headers["Authorization"] = f"PVEAPIToken={token}"

    def call(method: str, path: str, /, _json: bool = False, **params: Any) -> requests.Response:
        named = {key.replace("__", "-"): value for key, value in params.items()}
        where = "params" if method in ("GET", "DELETE") else "json" if _json else "data"
        return http.request(method, f"{server.url}/api2/json{path}", timeout=10, **{where: named})

    return call


@pytest.fixture
def root(pve_server: Server, root_token: str) -> Call:
    """Calls with root's token."""
    return client(pve_server, root_token)


@pytest.fixture
def hearth(pve_server: Server, hearth_token: str) -> Call:
    """Calls with Hearth's own token."""
    return client(pve_server, hearth_token)


def outcome(call: Call, answer: requests.Response) -> str:
    """The exit status of the task that an answer's UPID names, once it has ended."""
    upid = answer.json()["data"]
    for _ in range(500):
        status = call("GET", f"/nodes/pve/tasks/{upid}/status").json()["data"]
        if status["status"] == "stopped":
            return str(status["exitstatus"])
    raise AssertionError(f"{upid} did not end")

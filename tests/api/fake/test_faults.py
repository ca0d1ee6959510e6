"""Every fault of the table shows, and is gone when it is cleared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from hearth.errors import HearthError
from tests.api.fake.conftest import Call, client, outcome
from twin.pve import Pve, Server
from twin.pve.faults import FAULTS, apply, clear, describe
from twin.pve.furnish import DEBIAN_TEMPLATE

Probe = Callable[[Call, Pve], bool]

CT, VM = "/nodes/pve/lxc/100", "/nodes/pve/qemu/101"


def ok(method: str, path: str, **params: Any) -> Probe:
    """Whether a call is answered 200."""

    def probe(call: Call, pve: Pve) -> bool:
        try:
            return bool(call(method, path, **params).status_code == 200)
        except requests.RequestException:
            return False

    return probe


def done(method: str, path: str, **params: Any) -> Probe:
    """Whether a call's task ends OK."""

    def probe(call: Call, pve: Pve) -> bool:
        answer = call(method, path, **params)
        return answer.status_code == 200 and outcome(call, answer) in ("OK", "WARNINGS: 1")

    return probe


def started_and_stopped(call: Call, pve: Pve) -> bool:
    return done("POST", f"{CT}/status/start")(call, pve) and done("POST", f"{CT}/status/stop")(call, pve)


def shut_down(call: Call, pve: Pve) -> bool:
    call("POST", f"{CT}/status/start")
    good = done("POST", f"{CT}/status/shutdown", timeout=5)(call, pve)
    call("POST", f"{CT}/status/stop")
    return good


def quick(method: str, path: str) -> Probe:
    """Whether a call is answered within a quarter of a second."""

    def probe(call: Call, pve: Pve) -> bool:
        pve.time_scale = 0.2
        try:
            return call(method, path).elapsed.total_seconds() < 0.25
        finally:
            pve.time_scale = 0

    return probe


def created(storage: str) -> Probe:
    def probe(call: Call, pve: Pve) -> bool:
        params = {"vmid": 200, "ostemplate": DEBIAN_TEMPLATE, "rootfs": f"{storage}:1"}
        good = done("POST", "/nodes/pve/lxc", **params)(call, pve)
        call("DELETE", "/nodes/pve/lxc/200")
        return good

    return probe


def logged_in(call: Call, pve: Pve) -> bool:
    """Whether a ticket that was issued before the fault is still good."""
    return "ticket" in pve.tickets or bool(pve.tickets)


def no_time_to_start(call: Call, pve: Pve) -> bool:
    return bool(pve.ct(100).start_secs == 0)


#: fault -> its parameters, and what works without it.
CASES: dict[str, tuple[dict[str, Any], Probe]] = {
    "config-lock": ({"vmid": 100}, ok("PUT", f"{CT}/config", memory=300)),
    "guest-lock": ({"vmid": "101", "lock": "clone"}, ok("PUT", f"{VM}/config", memory=300)),
    "backup": ({"vmid": 100}, ok("PUT", f"{CT}/config", memory=300)),
    "moved": ({"vmid": 100, "node": "other"}, ok("GET", f"{CT}/config")),
    "slow-guest": ({"vmid": 100, "start": "5"}, no_time_to_start),
    "deaf-guest": ({"vmid": 100}, shut_down),
    "start-fails": ({"vmid": 100}, started_and_stopped),
    "agent-hangs": ({"vmid": 101}, ok("POST", f"{VM}/agent/ping")),
    "offline": ({"node": "pve"}, ok("GET", "/nodes/pve/lxc")),
    "slow": ({"seconds": "2"}, quick("GET", "/nodes/pve/lxc")),
    "hanging": ({"seconds": "2"}, quick("GET", "/nodes/pve/lxc")),
    "dropping": ({"rate": 1}, ok("GET", "/nodes/pve/lxc")),
    "http": ({"path": "/nodes/pve/lxc", "status": "502", "html": "1"}, ok("GET", "/nodes/pve/lxc")),
    "named": (
        {"method": "PUT", "path": f"{CT}/config", "error": "config_lock_timeout"},
        ok("PUT", f"{CT}/config", cores=1),
    ),
    "task": ({"type": "vzstart", "message": "no such luck"}, started_and_stopped),
    "slow-task": ({"type": "vzstart", "seconds": 5}, lambda call, pve: "vzstart" not in pve.task_secs),
    "download": ({}, lambda call, pve: pve.fetch.__module__ == "twin.pve.storage"),
    "quorum": ({}, ok("PUT", f"{CT}/config", memory=300)),
    "full": ({"storage": "local-lvm"}, created("local-lvm")),
    "storage-offline": ({"storage": "local-lvm"}, created("local-lvm")),
    "ceph-down": ({}, created("ceph-pool")),
    "ceph-slow": ({"seconds": 3}, lambda call, pve: pve.ceph["slow"] == 0),
    "bridge": ({"name": "vmbr0"}, started_and_stopped),
    "token-revoked": ({"token": "root@pam!admin"}, ok("GET", "/version")),
    "token-expired": ({"token": "root@pam!admin"}, ok("GET", "/version")),
    "user-disabled": ({"user": "root@pam"}, ok("GET", "/version")),
    "tickets-expired": ({}, logged_in),
    "forbidden": ({"privilege": "VM.Audit"}, lambda call, pve: pve.allowed("hearth@pve", "/", "VM.Audit")),
}


@pytest.fixture
def home(pve: Pve) -> Pve:
    pve.add_ct(100, node="pve", config={"net0": "name=eth0,bridge=vmbr0,hwaddr=02:00:00:00:00:01,type=veth"})
    pve.add_vm(101, "v", node="pve", status="running", config={"agent": "1"}).agent = {}
    pve.add_ceph_storage()
    pve.issue_ticket("root@pam")
    return pve


def test_every_fault_has_its_case() -> None:
    assert set(CASES) == set(FAULTS)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_shows_and_clears(home: Pve, pve_server: Server, root_token: str, name: str) -> None:
    params, works = CASES[name]
    root = client(pve_server, root_token)
    assert works(root, home), "it does not work without the fault"
    apply(home, name, **params)
    assert not works(root, home), "the fault does not show"
    assert clear(home, name) == 1
    if name != "tickets-expired":
        assert works(root, home), "the fault was not cleared"
    assert home.faults == []


def test_faults_add_up_and_clear_together(home: Pve, root: Call) -> None:
    apply(home, "quorum")
    apply(home, "guest-lock", vmid=100)
    assert "quorum" in root("PUT", f"{CT}/config", memory=300).reason
    assert clear(home) == 2
    assert root("PUT", f"{CT}/config", memory=300).status_code == 200


def test_times_limits_a_fault(home: Pve, root: Call) -> None:
    apply(home, "http", path="/nodes/pve/lxc", status=596, times=2)
    answers = [root("GET", "/nodes/pve/lxc").status_code for _ in range(3)]
    assert answers == [596, 596, 200]


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("nonsense", {}, "no such fault"),
        ("config-lock", {}, "vmid"),
        ("config-lock", {"vmid": "x"}, "'x'"),
        ("config-lock", {"vmid": 999}, "no guest 999"),
        ("full", {"storage": "nowhere"}, "no storage nowhere"),
        ("quorum", {"since": 1}, "since"),
    ],
)
def test_a_wrong_fault_is_explained(pve: Pve, name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(HearthError) as caught:
        apply(pve, name, **params)
    assert words in str(caught.value)
    assert pve.faults == []


def test_every_fault_is_described() -> None:
    assert {name for name, _, text in describe() if text} == set(FAULTS)

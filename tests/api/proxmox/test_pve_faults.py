"""Faults: a run converges, or ends with one clear error; the next run, fault gone, converges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox import create
from hearth.proxmox.api import Api, ApiError, LostAnswerError, UnreachableError
from hearth.proxmox.guests import converge
from hearth.proxmox.plan import GuestPlan
from tests.api.proxmox.conftest import Home, api_for, container, machine
from twin.pve import Pve

CREATE, CONFIG = "/nodes/pve/lxc", "/nodes/pve/lxc/135/config"


def converges(home: Home, guest: Guest | None = None) -> None:
    """The next run ends well, and the one after it has nothing to do."""
    guest = guest or container()
    home.run(guest)
    assert home.words(guest) == []
    assert home.pve.guest(guest.vmid).status == "running"


@pytest.mark.parametrize(
    "message",
    ["can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout", "CT is locked (backup)"],
)
def test_a_lock_that_passes_is_waited_for(home: Home, message: str) -> None:
    home.run(container())
    home.pve.fail("PUT", CONFIG, 500, message, times=2)
    home.run(container(memory=1024))
    assert home.config(135)["memory"] == 1024


def test_a_create_that_meets_a_lock_is_tried_again(home: Home) -> None:
    home.pve.fail("POST", CREATE, 500, "can't lock file '/x' - got timeout", times=2)
    converges(home)


def test_a_lock_that_stays_is_one_clear_error(home: Home, new_api: Callable[..., Api]) -> None:
    home.run(container())
    home.pve.snapshot_lock(135, "backup")
    with pytest.raises(HearthError, match=r"change guest comms: CT is locked \(backup\).*wait until"):
        home.run(container(memory=1024), new_api(lock_timeout=0.2))
    home.pve.unlock(135)
    converges(home, container(memory=1024))


def test_reads_survive_a_bad_way(home: Home) -> None:
    for status in (595, 596):
        home.pve.fail("GET", CREATE, status, "Connection timed out", times=2)
        assert home.plan(container()).state == "absent"


def test_a_way_that_stays_bad_is_one_clear_error(home: Home) -> None:
    home.pve.fail("GET", CREATE, 596, "Connection timed out")
    with pytest.raises(LostAnswerError, match="596"):
        home.plan(container())


def test_one_bad_look_at_a_task_is_no_failure_of_it(home: Home) -> None:
    answers = iter([LostAnswerError("look", "lost"), {"status": "running"}])
    real = home.api.get

    def get(path: str, **params: Any) -> Any:
        if path.endswith("/status") and "/tasks/" in path:
            answer = next(answers, None)
            if isinstance(answer, Exception):
                raise answer
            if answer:
                return answer
        return real(path, **params)

    home.api.get = get  # type: ignore[method-assign]
    converges(home)


def test_dropped_connections_converge(home: Home) -> None:
    home.pve.flaky_network(drop_rate=0.15, seed=7)
    for guest in (container(), container(memory=1024, tags=("a",)), container(disk=16384)):
        try_until_done(home, guest)
    home.pve.flaky_network()
    converges(home, container(disk=16384))


def try_until_done(home: Home, guest: Guest) -> None:
    """Runs on a bad network: each ends well or with a HearthError."""
    for _ in range(10):
        try:
            home.run(guest)
        except HearthError:
            continue
        return
    pytest.fail("ten runs did not converge")


def test_a_write_whose_answer_was_lost_is_read_back_not_repeated(home: Home) -> None:
    """The PUT arrives, its answer does not: the mount point must not be allocated twice."""
    home.run(container())
    real = home.api.put
    sent: list[str] = []

    def put(path: str, **keys: Any) -> None:
        sent.append(path)
        real(path, **keys)
        raise LostAnswerError(f"PUT {path}", "no answer came in time")

    home.api.put = put  # type: ignore[method-assign]
    guest = container(mounts=({"slot": "mp0", "path": "/srv", "size": 1024},))
    home.run(guest)
    assert sent == ["/nodes/pve/lxc/135/config"]
    assert home.words(guest) == []
    assert not [key for key in home.config(135) if key.startswith("unused")]


def test_a_write_that_never_arrived_is_sent_again(home: Home) -> None:
    home.run(container())
    home.pve.fail("PUT", CONFIG, 596, "Broken pipe", times=1)
    home.run(container(memory=1024))
    assert home.config(135)["memory"] == 1024


@pytest.mark.parametrize("verb", ["create", "start"])
def test_a_lost_answer_to_create_or_start_converges(home: Home, verb: str) -> None:
    real = home.api.task
    lost: list[str] = []

    def task(method: str, path: str, *args: Any, **params: Any) -> list[str]:
        log = real(method, path, *args, **params)
        if not lost and (path.endswith("/start") if verb == "start" else path.endswith("/lxc")):
            lost.append(path)
            raise LostAnswerError(f"{method} {path}", "no answer came in time")
        return log

    home.api.task = task  # type: ignore[method-assign]
    converges(home)
    assert lost


@pytest.mark.pve(time_scale=0.3)
def test_a_create_that_still_runs_when_its_answer_is_lost_is_waited_for(home: Home) -> None:
    home.pve.ct_secs["create"] = 2
    real, lost = home.api._send, [CREATE]

    def send(method: str, path: str, params: Any) -> Any:
        answer = real(method, path, params)
        if method == "POST" and path in lost:
            lost.remove(path)
            raise LostAnswerError(f"{method} {path}", "no answer came in time")
        return answer

    home.api._send = send  # type: ignore[method-assign]
    converges(home)
    assert not lost
    assert len([task for task in home.pve.tasklog if task["type"] == "vzcreate"]) == 1


@pytest.mark.parametrize("path", [CREATE, "/nodes/pve/lxc/135/status/start"])
def test_a_request_that_was_lost_on_its_way_converges(
    home: Home, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "GRACE", 0.1)
    home.pve.fail("POST", path, 596, "Broken pipe", times=1)
    converges(home)


def test_a_slow_answer_is_waited_for(home: Home, new_api: Callable[..., Api]) -> None:
    home.pve.time_scale = 1.0
    home.pve.slow_network(0.05)
    home.run(container(), new_api(timeout=5.0))
    assert home.pve.guest(135).status == "running"


def test_a_hanging_answer_ends_in_time_with_a_clear_error(home: Home, new_api: Callable[..., Api]) -> None:
    home.pve.flaky_network(hang_rate=1.0, hang_secs=1)
    home.pve.time_scale = 1.0
    began = time.monotonic()
    with pytest.raises(LostAnswerError, match="no answer came in time"):
        home.plan(container(), new_api(timeout=0.1))
    assert time.monotonic() - began < 5
    home.pve.flaky_network()
    home.pve.time_scale = 0.0
    converges(home)


def test_a_failed_task_shows_the_end_of_its_log(home: Home) -> None:
    home.run(container())
    home.pve.guest(135).status = "stopped"
    home.pve.guest(135).start_error = "startup for container '135' failed"
    with pytest.raises(HearthError, match="start guest comms: startup for container '135' failed"):
        home.run(container())
    home.pve.guest(135).start_error = None
    converges(home)


def test_lost_quorum_is_named(home: Home) -> None:
    home.pve.lose_quorum()
    with pytest.raises(HearthError, match=r"no quorum.*pvecm status"):
        home.run(container())
    home.pve.regain_quorum()
    converges(home)


@pytest.mark.parametrize("guest", [container(), machine()], ids=["container", "vm"])
def test_a_full_storage_is_named(home: Home, guest: Guest) -> None:
    home.pve.storages["local-lvm"]["avail"] = 1024**2
    with pytest.raises(HearthError, match=r"(?i)space"):
        home.run(guest)
    assert home.pve.guest(guest.vmid) is None and home.volumes() == set()
    home.pve.storages["local-lvm"]["avail"] = 800 * 1024**3
    converges(home, guest)


def test_a_token_that_is_revoked_meanwhile_ends_the_run_clearly(
    home: Home, new_api: Callable[..., Api]
) -> None:
    home.run(container())
    plan = home.plan(container(memory=1024))
    tokens = dict(home.pve.apitokens)
    home.pve.apitokens.clear()
    with pytest.raises(ApiError, match=r"log in at .*PROXMOX_VE_API_TOKEN"):
        converge(home.api, plan)
    home.pve.apitokens.update(tokens)
    home.api = new_api()
    converges(home, container(memory=1024))


def test_403_names_the_missing_right(home: Home) -> None:
    home.pve.fail("POST", CREATE, 403, "Permission check failed (/vms/135, VM.Allocate)", times=1)
    with pytest.raises(HearthError, match=r"create guest comms: .*VM.Allocate.*hearth doctor"):
        home.run(container())
    converges(home)


def test_a_401_is_paid_once(home: Home, pve_env: dict[str, str]) -> None:
    api = api_for(
        {**pve_env, "PROXMOX_VE_API_TOKEN": "hearth@pve!deploy=11111111-2222-3333-4444-555555555555"}
    )
    for _ in range(3):
        with pytest.raises(ApiError, match="PROXMOX_VE_API_TOKEN"):
            api.get("/version")
    assert api.count == 1


def test_an_endpoint_that_is_down_is_paid_once(pve_env: dict[str, str]) -> None:
    api = api_for({**pve_env, "PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9"})
    for _ in range(3):
        with pytest.raises(UnreachableError, match=r"cannot reach Proxmox at https://127.0.0.1:9"):
            api.get("/version")
    assert api.count == 4  # one, and three quick repetitions of it


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_certificate_nobody_knows_says_what_to_set(pve_env: dict[str, str]) -> None:
    env = {key: value for key, value in pve_env.items() if key != "PROXMOX_VE_CA_BUNDLE"}
    with pytest.raises(UnreachableError, match=r"trust.*PROXMOX_VE_CA_BUNDLE"):
        api_for(env).get("/version")
    assert api_for({**env, "PROXMOX_VE_INSECURE": "1"}).get("/version")["version"]


def test_a_proxy_of_this_machine_does_not_come_between(
    pve: Pve, pve_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is on the LAN, whatever the environment says for the way to the Internet."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert api_for(pve_env).get("/version")["version"] == pve.version


def test_a_proxys_page_is_not_taken_for_an_answer(home: Home) -> None:
    home.pve.fail("GET", CREATE, 200, "<html>welcome</html>", html=True)
    with pytest.raises(ApiError, match="does not come from Proxmox"):
        home.plan(container())


def test_an_error_page_is_an_error(home: Home) -> None:
    home.pve.fail("GET", CREATE, 404, "<html>no such page</html>", html=True)
    with pytest.raises(ApiError):
        home.plan(container())


def test_parameter_errors_name_their_fields(home: Home) -> None:
    with pytest.raises(ApiError, match="Parameter verification failed: memory: ") as caught:
        home.api.put(CONFIG, memory="abc")
    assert caught.value.status == 400 and "memory" in caught.value.errors


def test_at_most_two_creates_at_a_time_on_a_storage(home: Home) -> None:
    now, most = 0, 0
    guard = threading.Lock()

    def use() -> None:
        nonlocal now, most
        with home.api.creating("local-lvm"):
            with guard:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with guard:
                now -= 1

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_guests_are_made_in_parallel(home: Home) -> None:
    guests = [container(name=f"g{n}", vmid=n, address=f"192.168.1.{n}", mac=None) for n in range(150, 155)]
    plans = [home.plan(guest) for guest in guests]
    errors: list[Exception] = []

    def make(plan: GuestPlan) -> None:
        try:
            converge(home.api, plan)
        except HearthError as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(home.pve.guest(guest.vmid).status == "running" for guest in guests)

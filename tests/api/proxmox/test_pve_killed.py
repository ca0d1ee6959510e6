"""A run that was killed anywhere: the next one ends where an undisturbed one does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from hearth.fleet.model import Guest
from hearth.proxmox.api import Api
from hearth.proxmox.wrapper import NodeShell
from tests.api.proxmox.conftest import Home, container, machine
from tests.api.proxmox.test_pve_wrapper import FakeNode


class Killed(BaseException):
    """As a SIGKILL: nothing catches it."""


def kill_after(api: Api, writes: int) -> None:
    """Die right after the n-th mutating request was answered."""
    real, left = api._ask, [writes]

    def ask(method: str, path: str, params: Any) -> Any:
        answer = real(method, path, params)
        if method != "GET":
            left[0] -= 1
            if left[0] == 0:
                raise Killed
        return answer

    api._ask = ask  # type: ignore[method-assign]


def whole_state(home: Home, vmid: int) -> dict[str, Any]:
    """What must be the same after any run: config without what is drawn by lot, status, disks."""
    guest = home.pve.guest(vmid)
    drawn = ("digest", "vmgenid", "smbios1", "meta")
    config = {key: value for key, value in guest.config.items() if key not in drawn}
    return {"config": config, "pending": dict(guest.pending), "status": guest.status, "disks": home.volumes()}


FULL: list[Guest] = [
    container(
        protection=True,
        tun=True,
        mounts=({"slot": "mp0", "path": "/srv", "size": 1024},),
        features={"nesting": True, "keyctl": True},
    ),
    machine(disks=({"slot": "scsi1", "size": 1024},), protection=True),
]


@pytest.mark.parametrize("guest", FULL, ids=["container", "vm"])
def test_a_create_killed_after_any_write_converges(
    home: Home, new_api: Callable[..., Api], guest: Guest
) -> None:
    home.shell = NodeShell(FakeNode(home.pve))
    home.run(guest)
    wanted, writes = whole_state(home, guest.vmid), home.api.requests
    total = sum(count for method, count in writes.items() if method != "GET")
    assert total >= 3
    for after in range(1, total + 1):
        forget(home, guest.vmid)
        api = new_api()
        kill_after(api, after)
        with pytest.raises(Killed):
            home.run(guest, api)
        home.run(guest)
        assert whole_state(home, guest.vmid) == wanted, f"killed after write {after}"
        assert home.words(guest) == []


def forget(home: Home, vmid: int) -> None:
    """Empty the node again."""
    guest = home.pve.guest(vmid)
    for guests in (home.pve.cts, home.pve.vms):
        if guest in guests:
            guests.remove(guest)
    for store in home.pve.storages.values():
        mine = [name for name, volume in store["volumes"].items() if f"-{vmid}-" in name]
        for name in mine:
            del store["volumes"][name]


@pytest.mark.parametrize("after", range(1, 6))
def test_a_change_killed_after_any_write_converges(
    home: Home, new_api: Callable[..., Api], after: int
) -> None:
    home.run(container())
    guest = container(
        memory=1024, disk=16384, protection=True, mounts=({"slot": "mp0", "path": "/s", "size": 512},)
    )
    api = new_api()
    kill_after(api, after)
    with contextlib.suppress(Killed):
        home.run(guest, api)
    home.run(guest)
    assert home.words(guest) == []
    assert not [key for key in home.config(135) if key.startswith("unused")]


SILENT = {
    "address of a VM": (machine(), machine(address="192.168.1.200", restart="allowed"), {}),
    "MTU of a container": (container(), container(restart="allowed"), {"lan": {"mtu": 1400}}),
    "device of a container": (container(), container(tun=True, restart="allowed"), {}),
}


@pytest.mark.parametrize("case", SILENT)
@pytest.mark.parametrize("after", range(1, 4))
def test_what_only_a_start_shows_is_in_force_after_a_kill_anywhere(
    home: Home, new_api: Callable[..., Api], case: str, after: int
) -> None:
    """Proxmox takes it at once, and no plan shows it again: it is written while the guest is down."""
    old, new, network = SILENT[case]
    home.shell = NodeShell(FakeNode(home.pve))
    home.run(old)
    guest = home.pve.guest(new.vmid)
    before, started = dict(guest.config), guest.started_at
    api = new_api()
    kill_after(api, after)
    with contextlib.suppress(Killed):
        home.run(new, api, **network)
    in_force = guest.status == "stopped" or guest.started_at > started
    assert in_force or same(guest.config, before), "taken, and not in force"
    home.run(new, **network)
    assert home.words(new, **network) == []
    assert guest.status == "running" and not same(guest.config, before)


def same(config: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**config, "digest": ""} == {**other, "digest": ""}


@pytest.mark.parametrize("after", range(1, 6))
def test_a_replacement_killed_after_any_write_converges(
    home: Home, new_api: Callable[..., Api], after: int
) -> None:
    home.run(container())
    guest = container(disk=4096)
    api = new_api()
    kill_after(api, after)
    with contextlib.suppress(Killed):
        home.run(guest, api, replace=True)
    home.run(guest, replace=True)
    assert home.words(guest) == []
    assert home.pve.guest(135).status == "running"


@pytest.mark.pve(time_scale=0.3)
def test_a_create_that_still_runs_is_waited_for(home: Home, new_api: Callable[..., Api]) -> None:
    """Killed while Proxmox works: the guest has neither name nor tag, only `lock: create`."""
    home.pve.ct_secs["create"] = 2
    api = new_api()
    kill_after(api, 1)
    with pytest.raises(Killed):
        home.run(container(), api)
    seen = home.pve.guest(135)
    assert seen.lock == "create" and "tags" not in seen.config
    plan = home.run(container())
    assert plan.state == "stopped"
    assert home.pve.guest(135).status == "running"
    assert home.words(container()) == []


def test_a_guest_that_was_never_finished_is_named(home: Home) -> None:
    home.pve.add_ct(135, node="pve", lock="create", defaults=False)
    plan = home.plan(container())
    assert "never finished" in str(plan.refusals[0])

"""Changes of a guest that is there: planned with their kind, applied, read back, silent afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox.guests import restart_now
from tests.api.proxmox.conftest import Home, container, machine

OTHER_BRIDGE: dict[str, Any] = {"lan": {"bridge": "vmbr1"}}
DATA = {"slot": "mp0", "path": "/srv/data", "size": 2048}

LIVE = [
    (container(), container(memory=1024), "memory: 512 -> 1024 MiB (live)"),
    (container(), container(swap=0), "swap: 512 -> 0 MiB (live)"),
    (container(), container(cores=2), "cores: 1 -> 2 (live)"),
    (container(), container(disk=16384), "disk: 8 -> 16 GiB (live)"),
    (container(), container(disk=8704), "disk: 8192 -> 8704 MiB (live)"),
    (container(), container(tags=("mqtt",)), "tags: hearth -> hearth, mqtt (live)"),
    (container(), container(mounts=(DATA,)), "mp0: none -> /srv/data 2 GiB (live)"),
    (container(), container(onboot=False), "onboot: yes -> no (live)"),
    (container(), container(startup={"order": 3}), "startup: none -> order=3 (live)"),
    (container(), container(description="a\nb"), 'description: "" -> "a b" (live)'),
    (container(), container(protection=True), "protection: no -> yes (live)"),
    (container(), container(address="192.168.1.200"), "address: 192.168.1.135/24 -> 192.168.1.200/24 (live)"),
    (container(), container(mac="02:48:00:00:00:99"), "mac: 02:48:00:00:00:87 -> 02:48:00:00:00:99 (live)"),
    (machine(), machine(tags=("sql",)), "tags: hearth -> hearth, sql (live)"),
    (machine(), machine(disk=32768), "disk: 16 -> 32 GiB (live)"),
    (machine(), machine(disks=({"slot": "scsi1", "size": 4096},)), "scsi1: none -> 4 GiB (live)"),
    (machine(), machine(onboot=False), "onboot: yes -> no (live)"),
]
RESTART = [
    (machine(), machine(cores=4, restart="allowed"), "cores: 2 -> 4 (needs a restart)"),
    (machine(), machine(memory=4096, restart="allowed"), "memory: 2048 -> 4096 MiB (needs a restart)"),
    (
        container(),
        container(features={"nesting": False}, restart="allowed"),
        "features: nesting=1 -> nesting=0 (needs a restart)",
    ),
]


@pytest.mark.parametrize(("before", "after", "words"), LIVE, ids=[case[2] for case in LIVE])
def test_a_live_change_is_planned_applied_and_silent(
    home: Home, before: Guest, after: Guest, words: str
) -> None:
    home.run(before)
    assert home.words(after) == [words]
    home.run(after)
    assert home.words(after) == []
    assert home.pve.guest(after.vmid).status == "running"


@pytest.mark.parametrize(("before", "after", "words"), RESTART, ids=[case[2] for case in RESTART])
def test_an_allowed_restart_brings_a_change_into_force(
    home: Home, before: Guest, after: Guest, words: str
) -> None:
    home.run(before)
    started = home.pve.guest(after.vmid).started_at
    plan = home.run(after)
    assert [str(change) for change in plan.changes] == [words]
    assert plan.restarts
    assert home.words(after) == []
    assert home.pve.guest(after.vmid).status == "running"
    assert home.pve.guest(after.vmid).started_at > started


@pytest.mark.parametrize(("before", "after", "words"), RESTART, ids=[case[2] for case in RESTART])
def test_a_forbidden_restart_shows_at_every_run_until_it_happened(
    home: Home, before: Guest, after: Guest, words: str
) -> None:
    waiting = after.model_copy(update={"restart": "never"})
    home.run(before)
    for run in range(3):
        plan = home.run(waiting)
        assert [str(change) for change in plan.changes] == [words]
        assert plan.changes[0].pending == (run > 0)
    assert not home.plan(waiting).does_something
    home.run(after)
    assert home.words(waiting) == []


def test_a_restart_can_be_left_to_a_later_call(home: Home) -> None:
    home.run(machine())
    home.run(machine(cores=4, restart="allowed"), restart=False)
    assert home.plan(machine(cores=4)).changes[0].pending


def test_a_restart_that_was_put_off_writes_what_only_a_start_shows(home: Home) -> None:
    """As for a guest that the run passes through: nothing of it before, all of it with the restart."""
    home.run(machine())
    moved = machine(address="192.168.1.200", cores=4, restart="allowed")
    plan = home.run(moved, restart=False)
    assert home.config(136)["ipconfig0"].startswith("ip=192.168.1.136/24")
    started = home.pve.guest(136).started_at
    restart_now(home.api, plan)
    assert home.words(moved) == []
    assert home.config(136)["ipconfig0"].startswith("ip=192.168.1.200/24")
    assert home.pve.guest(136).started_at > started


def test_a_guest_that_does_not_come_down_keeps_what_it_has(home: Home) -> None:
    home.run(machine())
    home.pve.guest(136).shutdown_secs = 1000
    with pytest.raises(HearthError, match="restart it by hand"):
        home.run(machine(address="192.168.1.200", restart="allowed"))
    assert home.config(136)["ipconfig0"].startswith("ip=192.168.1.136/24")
    assert home.pve.guest(136).status == "running"


@pytest.mark.parametrize("guest", [container(), machine()], ids=["container", "vm"])
def test_the_bridge_changes_with_its_mac_kept(home: Home, guest: Guest) -> None:
    home.run(guest)
    assert home.words(guest, **OTHER_BRIDGE) == ["bridge: vmbr0 -> vmbr1 (live)"]
    home.run(guest, **OTHER_BRIDGE)
    assert home.words(guest, **OTHER_BRIDGE) == []
    assert f"={guest.mac}" in home.config(guest.vmid)["net0"]


def test_several_parts_of_a_network_card_go_in_one_write(home: Home) -> None:
    home.run(container())
    network: dict[str, Any] = {"lan": {"bridge": "vmbr1", "vlan": 5, "gateway": "192.168.1.2"}}
    home.run(container(), **network)
    assert home.words(container(), **network) == []
    assert home.words(container()) == [
        "bridge: vmbr1 -> vmbr0 (live)",
        "vlan: 5 -> none (live)",
        "gateway: 192.168.1.2 -> 192.168.1.1 (live)",
    ]
    home.run(container())
    assert "tag=" not in home.config(135)["net0"]


def test_a_vms_new_address_is_kept_back_until_a_restart_is_allowed(home: Home) -> None:
    home.run(machine())
    moved = machine(address="192.168.1.200")
    words = ["address: 192.168.1.136/24 -> 192.168.1.200/24 (needs a restart)"]
    for _ in range(2):
        home.run(moved)
        assert home.words(moved) == words
    allowed = moved.model_copy(update={"restart": "allowed"})
    before = len(home.pve.log.requests)
    home.run(allowed)
    asked = [row.path for row in home.pve.log.requests[before:] if row.method == "POST"]
    assert any(path.endswith(("/status/reboot", "/status/start")) for path in asked)
    assert home.words(moved) == []
    assert home.config(136)["ipconfig0"].startswith("ip=192.168.1.200/24")


def test_a_stopped_guest_takes_every_change_at_once(home: Home) -> None:
    home.run(machine())
    home.pve.guest(136).status = "stopped"
    assert home.words(machine(cores=4)) == ["cores: 2 -> 4 (live)"]
    home.run(machine(cores=4))
    assert home.words(machine(cores=4)) == []


def test_a_slot_is_grown_and_never_allocated_twice(home: Home) -> None:
    home.run(container(mounts=(DATA,)))
    home.run(machine(disks=({"slot": "scsi1", "size": 4096},)))
    disks = home.volumes()
    bigger = container(mounts=({**DATA, "size": 4096},))
    assert home.words(bigger) == ["mp0: 2 -> 4 GiB (live)"]
    home.run(bigger)
    home.run(machine(disks=({"slot": "scsi1", "size": 8192},)))
    assert home.words(bigger) == []
    assert home.volumes() == disks
    assert not [key for vmid in (135, 136) for key in home.config(vmid) if key.startswith("unused")]


def test_changed_options_of_a_mount_point_keep_its_volume(home: Home) -> None:
    home.run(container(mounts=(DATA,)))
    volume = home.config(135)["mp0"].split(",")[0]
    moved = container(mounts=({**DATA, "path": "/srv/other", "backup": True},), restart="allowed")
    assert home.words(moved) == [
        "mp0 path: /srv/data -> /srv/other (needs a restart)",
        "mp0 backup: no -> yes (needs a restart)",
    ]
    home.run(moved)
    assert home.words(moved) == []
    assert home.config(135)["mp0"].split(",")[0] == volume


def test_what_the_file_does_not_name_is_neither_shown_nor_removed(home: Home) -> None:
    home.run(container(mounts=(DATA,), tags=("mqtt",), description="old", startup={"order": 1, "up": 5}))
    plain = container(
        cores=None, memory=None, swap=None, disk=None, onboot=None, features={}, startup={"up": 9}
    )
    assert home.words(plain) == ["startup: up=5 -> up=9 (live)"]
    home.run(plain)
    config = home.config(135)
    assert config["startup"] == "order=1,up=9"
    assert config["tags"] == "hearth;mqtt"
    assert "mp0" in config and config["description"].strip() == "old"


def test_a_pool_is_joined(home: Home) -> None:
    home.pve.pools["home"] = set()
    home.pve.pool_info["home"] = {"comment": "", "storage": set()}
    home.run(container())
    assert home.words(container(pool="home")) == ["pool: none -> home (live)"]
    home.run(container(pool="home"))
    assert home.words(container(pool="home")) == []


def test_a_pool_that_does_not_exist_says_how_to_make_it(home: Home) -> None:
    with pytest.raises(HearthError, match="pvesh create /pools"):
        home.plan(container(pool="nosuch"))


def test_a_change_that_does_not_stick_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.run(container())
    put = home.api.put
    monkeypatch.setattr(home.api, "put", lambda path, **keys: put(path, **{**keys, "memory": 700}))
    with pytest.raises(HearthError, match="memory: 700 -> 1024 MiB"):
        home.run(container(memory=1024))


def test_somebody_elses_change_between_plan_and_write_is_noticed(home: Home) -> None:
    home.run(container())
    plan = home.plan(container(memory=1024))
    home.pve.guest(135).config["cores"] = 3
    from hearth.proxmox.guests import converge

    with pytest.raises(HearthError, match="modified configuration"):
        converge(home.api, plan)
    assert home.config(135)["memory"] == 512


def test_a_grown_disk_whose_file_system_did_not_grow_is_an_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.run(container())
    monkeypatch.setattr(
        home.api, "log", lambda upid: ["Failed to update the container's filesystem: exit code 1", "TASK OK"]
    )
    with pytest.raises(HearthError, match="the file system in it did not"):
        home.run(container(disk=16384))

"""Guests from nothing to running, and the second run that finds nothing to do."""

from __future__ import annotations

import pytest

from hearth.fleet.model import Guest
from tests.api.proxmox.conftest import Home, container, machine


@pytest.mark.parametrize("guest", [container(), machine()], ids=["container", "vm"])
def test_an_absent_guest_is_made_and_started(home: Home, guest: Guest) -> None:
    before = home.plan(guest)
    assert (before.state, before.action, before.starts) == ("absent", "create", True)
    home.run(guest)
    made = home.pve.guest(guest.vmid)
    assert made.status == "running"
    assert "hearth" in made.config["tags"]


@pytest.mark.parametrize("guest", [container(), machine()], ids=["container", "vm"])
def test_the_second_run_reads_three_times_and_writes_nothing(home: Home, guest: Guest) -> None:
    home.run(guest)
    home.api.requests.clear()
    plan = home.run(guest)
    assert (plan.state, plan.changes, plan.does_something) == ("running", (), False)
    assert dict(home.api.requests) == {"GET": 3}


def test_a_container_gets_what_was_declared(home: Home) -> None:
    home.run(container(tags=("mqtt",), startup={"order": 1, "up": 10}, description="the broker"))
    config = home.config(135)
    assert config["hostname"] == "comms"
    assert config["memory"] == 512
    assert config["rootfs"].endswith("size=8G")
    assert "hwaddr=02:48:00:00:00:87" in config["net0"]
    assert "ip=192.168.1.135/24" in config["net0"]
    assert "gw=192.168.1.1" in config["net0"]
    assert config["unprivileged"] == 1
    assert config["features"] == "nesting=1"
    assert config["tags"] == "hearth;mqtt"
    assert config["startup"] == "order=1,up=10"
    assert config["description"].strip() == "the broker"


def test_a_vm_is_made_from_its_image_with_cloud_init_and_grown(home: Home) -> None:
    home.run(machine())
    config = home.config(136)
    assert config["name"] == "database"
    assert "size=16G" in config["scsi0"]
    assert "cloudinit" in config["ide2"]
    assert config["net0"].startswith("virtio=02:48:00:00:00:88,bridge=vmbr0")
    assert config["ipconfig0"] == "ip=192.168.1.136/24,gw=192.168.1.1"
    assert config["ciuser"] == "root"
    assert "%20" in config["sshkeys"] and " " not in config["sshkeys"] and "/" not in config["sshkeys"]
    assert str(config["agent"]) == "1"
    assert config["boot"] == "order=scsi0"


def test_protection_comes_after_everything_it_would_forbid(home: Home) -> None:
    guest = container(protection=True, mounts=({"slot": "mp0", "path": "/srv", "size": 1024},))
    home.run(guest)
    assert home.config(135)["protection"] == 1
    assert home.words(guest) == []


def test_a_stopped_guest_is_planned_as_stopped_and_started(home: Home) -> None:
    home.run(container())
    home.pve.guest(135).status = "stopped"
    plan = home.run(container())
    assert (plan.state, plan.starts) == ("stopped", True)
    assert home.pve.guest(135).status == "running"


def test_a_stopped_appliance_that_was_taken_over_stays_stopped(home: Home) -> None:
    home.run(container())
    home.pve.guest(135).status = "stopped"
    plan = home.run(container(appliance=True, image=None))
    assert (plan.state, plan.starts, plan.does_something) == ("stopped", False, False)
    assert home.pve.guest(135).status == "stopped"

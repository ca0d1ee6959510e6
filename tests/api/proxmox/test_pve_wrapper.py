"""Keys that only root may set: through the node's wrapper, before the first start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.proxmox.wrapper import NodeShell
from tests.api.proxmox.conftest import Home, container, machine

STICK = "/dev/serial/by-id/usb-ITead_Sonoff_Zigbee_3.0_1234-if00-port0"


class FakeNode:
    """A node whose `pct set` and `qm set` act on the fake; it notes whether the guest ran then."""

    def __init__(self, pve: Any, sticks: Sequence[str] = (STICK,)) -> None:
        self.pve = pve
        self.asked: list[list[str]] = []
        self.ran: list[bool] = []
        self.sticks = sticks

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(list(argv))
        if argv[0] == "devices":
            row = '{{"path": "{}", "target": "/dev/ttyUSB0", "gid": 20, "usb": "10c4:ea60"}}'
            rows = [row.format(path) for path in self.sticks]
            rows.append('{"path": "/dev/net/tun", "target": "/dev/net/tun", "gid": 0, "usb": ""}')
            return 0, f"[{','.join(rows)}]", ""
        guest = self.pve.guest(int(argv[2]))
        self.ran.append(guest.status == "running")
        if guest.config.get("protection") and any(word.startswith("--mp") for word in argv):
            return 255, "", f"can't update CT {argv[2]} drive 'mp0' - protection mode enabled"
        for key, value in zip(argv[3::2], argv[4::2], strict=True):
            target = guest.pending if guest.status == "running" else guest.config
            target[key.removeprefix("--")] = value
        return 0, "", ""


@pytest.fixture
def node(home: Home) -> FakeNode:
    """The node's SSH, given to the home."""
    node = FakeNode(home.pve)
    home.shell = NodeShell(node)
    return node


def test_root_only_keys_are_set_before_the_first_start(home: Home, node: FakeNode) -> None:
    guest = container(
        tun=True,
        devices=(STICK,),
        features={"nesting": True, "keyctl": True},
        mounts=({"slot": "mp0", "path": "/media", "source": "/mnt/media", "readonly": True},),
    )
    home.run(guest)
    assert node.ran == [False]
    config = home.config(135)
    assert config["dev0"] == f"{STICK},gid=20,mode=0660"
    assert config["dev1"] == "/dev/net/tun,mode=0666"
    assert config["features"] == "nesting=1,keyctl=1"
    assert config["mp0"] == "/mnt/media,mp=/media,ro=1"
    assert home.words(guest) == []


def test_protection_comes_after_the_bind_mounts_that_it_would_forbid(home: Home, node: FakeNode) -> None:
    mounts = ({"slot": "mp0", "path": "/media", "source": "/mnt/media"},)
    home.run(container(protection=True, mounts=mounts))
    assert home.words(container(protection=True, mounts=mounts)) == []


def test_what_the_wrapper_refuses_is_told_in_its_words(home: Home, node: FakeNode) -> None:
    home.run(container())
    home.pve.guest(135).config["protection"] = 1
    home.shell = NodeShell(lambda argv: (1, "", "hearth-node: guest 135 does not carry the tag hearth"))
    with pytest.raises(HearthError, match=r"set features of guest 135 .*does not carry the tag"):
        home.run(container(features={"nesting": True, "fuse": True}))


def test_a_privileged_containers_nesting_goes_through_the_wrapper(home: Home, node: FakeNode) -> None:
    guest = container(unprivileged=False)
    home.run(guest)
    assert node.asked[-1] == ["pct", "set", "135", "--features", "nesting=1"]
    assert home.words(guest) == []


def test_a_device_set_while_it_runs_waits_for_the_restart(home: Home, node: FakeNode) -> None:
    home.run(container())
    for _ in range(2):
        assert home.words(container(tun=True)) == ["dev0: none -> /dev/net/tun (needs a restart)"]
        home.run(container(tun=True))
    before = len(home.pve.log.requests)
    home.run(container(tun=True, restart="allowed"))
    asked = [row.path for row in home.pve.log.requests[before:] if row.method == "POST"]
    assert asked == [f"/nodes/pve/lxc/135/status/{verb}" for verb in ("shutdown", "start")]
    assert home.words(container(tun=True)) == []


def test_a_device_keeps_its_slot(home: Home, node: FakeNode) -> None:
    home.run(container(tun=True))
    home.run(container(tun=True, devices=(STICK,), restart="allowed"))
    assert home.config(135)["dev0"].startswith("/dev/net/tun")
    assert home.config(135)["dev1"].startswith(STICK)


def test_a_vm_gets_its_stick_by_vendor_and_product(home: Home, node: FakeNode) -> None:
    home.run(machine(devices=(STICK,)))
    assert home.config(136)["usb0"] == "host=10c4:ea60"
    assert home.words(machine(devices=(STICK,))) == []


def test_a_missing_stick_is_named_with_those_present(home: Home) -> None:
    other = "/dev/serial/by-id/usb-Other_Stick-if00"
    home.shell = NodeShell(FakeNode(home.pve, [other]))
    with pytest.raises(HearthError, match=f"{STICK}: there is no such device; present are {other}"):
        home.run(container(devices=(STICK,)))


def test_a_moved_stick_is_named_as_moved(home: Home) -> None:
    moved = STICK.replace("if00-port0", "if01-port0")
    home.shell = NodeShell(FakeNode(home.pve, [moved]))
    with pytest.raises(HearthError, match=f"moved to {moved}"):
        home.run(container(devices=(STICK,)))


def test_without_the_wrapper_nothing_is_begun(home: Home) -> None:
    with pytest.raises(HearthError, match="SSH wrapper"):
        home.run(container(tun=True))
    assert home.pve.guest(135) is None


def test_a_run_that_died_before_its_root_only_keys_is_taken_up_again(home: Home, node: FakeNode) -> None:
    home.run(container())
    home.pve.guest(135).status = "stopped"
    home.run(container(tun=True))
    assert node.ran == [False]
    assert home.words(container(tun=True)) == []


def test_another_device_is_left_to_the_node_to_check(home: Home, node: FakeNode) -> None:
    home.run(container(devices=("/dev/dri/renderD128",)))
    assert home.config(135)["dev0"] == "/dev/dri/renderD128,mode=0666"

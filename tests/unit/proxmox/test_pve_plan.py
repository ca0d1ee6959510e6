"""The plan of one guest: what differs, of what kind, and what is refused. No I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pve_kit import LXC, VM, fleet, guest, plan, seen, words

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox.desired import Intent
from hearth.proxmox.observe import Config, NodeView
from hearth.proxmox.plan import check, plan_destroy, plan_guest

SAME_LXC = {
    "a size in other units": {"rootfs": "local-lvm:vm-135-disk-0,size=8192M"},
    "keys in another order": {
        "net0": "type=veth,ip=192.168.1.135/24,hwaddr=02:48:00:00:00:87,gw=192.168.1.1,bridge=vmbr0,name=eth0"
    },
    "a MAC in small letters": {"net0": LXC["net0"].lower()},  # type: ignore[attr-defined]
    "keys that the file does not know": {
        "net0": f"{LXC['net0']},firewall=1,rate=10",
        "cpulimit": "2",
        "mp9": "x:y",
    },
    "numbers as strings": {"memory": "512", "cores": "1", "onboot": "1"},
    "a description with its newline": {"description": "hello\n"},
    "tags in another order and case": {"tags": "Hearth"},
    "a name in capitals": {"hostname": "COMMS"},
    "a feature switched off": {"features": "keyctl=0,nesting=1"},
}
SAME_VM = {
    "memory with its name": {"memory": "current=512"},
    "the MAC by its own key": {"net0": "model=virtio,bridge=vmbr0,macaddr=02:48:00:00:00:87"},
    "another card": {"net0": "e1000=02:48:00:00:00:87,bridge=vmbr0"},
    "another disk to boot from": {
        "boot": "order=ide2;virtio0",
        "virtio0": "x:vm-135-disk-1,size=8G",
        "scsi0": "",
    },
    "no cloud-init in it": {"ipconfig0": None, "ide2": None},
}


@pytest.mark.parametrize("told", SAME_LXC.values(), ids=SAME_LXC.keys())
def test_what_means_the_same_in_a_container_is_no_change(told: dict[str, Any]) -> None:
    assert words(plan(guest(description="hello" if "description" in told else None), LXC | told)) == []


@pytest.mark.parametrize("told", SAME_VM.values(), ids=SAME_VM.keys())
def test_what_means_the_same_in_a_vm_is_no_change(told: dict[str, Any]) -> None:
    values = {key: value for key, value in (VM | told).items() if value is not None}
    assert words(plan(guest("vm"), values)) == []


# Field by field: what is wanted, what is said while it runs, and what is sent.
CASES: list[tuple[Guest, dict[str, Any], str, dict[str, str]]] = [
    (guest(memory=1024), {}, "memory: 512 -> 1024 MiB (live)", {"memory": "1024"}),
    (guest(cores=2), {}, "cores: 1 -> 2 (live)", {"cores": "2"}),
    (guest(cores=2), {"cores": None}, "cores: all -> 2 (live)", {"cores": "2"}),
    (guest(swap=0), {}, "swap: 512 -> 0 MiB (live)", {"swap": "0"}),
    (guest(name="comms"), {"hostname": "old"}, "name: old -> comms (live)", {"hostname": "comms"}),
    (guest(onboot=False), {}, "onboot: yes -> no (live)", {"onboot": "0"}),
    (guest(protection=True), {}, "protection: no -> yes (live)", {"protection": "1"}),
    (guest(tags=("b", "A")), {}, "tags: hearth -> a, b, hearth (live)", {"tags": "a;b;hearth"}),
    (guest(unprivileged=False), {}, "unprivileged: yes -> no (needs a replacement)", {"unprivileged": "0"}),
    (
        guest(features={"nesting": False}),
        {},
        "features: nesting=1 -> nesting=0 (needs a restart)",
        {"features": "nesting=0"},
    ),
    (guest("vm", cores=2), {}, "cores: 1 -> 2 (needs a restart)", {"cores": "2"}),
    (guest("vm", memory=1024), {}, "memory: 512 -> 1024 MiB (needs a restart)", {"memory": "1024"}),
    (
        guest("vm", memory=1024),
        {"hotplug": "network,disk,memory"},
        "memory: 512 -> 1024 MiB (live)",
        {"memory": "1024"},
    ),
    (guest("vm", tags=("a",)), {}, "tags: hearth -> a, hearth (live)", {"tags": "a;hearth"}),
    (
        guest("vm", mac="02:48:00:00:00:01"),
        {},
        "mac: 02:48:00:00:00:87 -> 02:48:00:00:00:01 (live)",
        {"net0": "virtio=02:48:00:00:00:01,bridge=vmbr0"},
    ),
    (
        guest("vm", disks=({"slot": "scsi1", "size": 512},)),
        {},
        "scsi1: none -> 512 MiB (live)",
        {"scsi1": "local-lvm:0.5"},
    ),
    (
        guest("vm", disks=({"slot": "scsi1", "size": 1024},)),
        {"hotplug": "0"},
        "scsi1: none -> 1 GiB (needs a restart)",
        {"scsi1": "local-lvm:1"},
    ),
    (
        guest("vm", address="192.168.1.9"),
        {},
        "address: 192.168.1.135/24 -> 192.168.1.9/24 (needs a restart)",
        {"ipconfig0": "gw=192.168.1.1,ip=192.168.1.9/24"},
    ),
]


@pytest.mark.parametrize(
    ("wanted", "told", "said", "sent"), CASES, ids=[f"{c[0].kind} {c[2]}" for c in CASES]
)
def test_a_change_is_said_and_sent_exactly(
    wanted: Guest, told: dict[str, Any], said: str, sent: dict[str, str]
) -> None:
    values = {
        key: value
        for key, value in ((LXC if wanted.kind == "lxc" else VM) | told).items()
        if value is not None
    }
    (difference,) = (made := plan(wanted, values, adopt=True)).found
    assert words(made) == [said]
    assert dict(difference.send) == sent


@pytest.mark.parametrize(
    "case", [case for case in CASES if "replacement" not in case[2]], ids=lambda case: case[2]
)
def test_a_stopped_guest_takes_it_at_once(case: tuple[Guest, dict[str, Any], str, dict[str, str]]) -> None:
    wanted, told, said, _ = case
    values = {
        key: value
        for key, value in ((LXC if wanted.kind == "lxc" else VM) | told).items()
        if value is not None
    }
    made = plan(wanted, values, status="stopped", adopt=True)
    assert words(made) == [said.rpartition(" (")[0] + " (live)"]


def test_a_pending_change_shows_until_it_is_in_force_and_is_not_sent_again() -> None:
    made = plan(guest("vm", cores=2), VM, {"cores": 2})
    assert words(made) == ["cores: 1 -> 2 (needs a restart)"]
    assert made.changes[0].pending and not made.does_something
    assert plan(guest("vm", cores=2, restart="allowed"), VM, {"cores": 2}).restarts


def test_somebodys_pending_change_of_a_declared_key_is_taken_back() -> None:
    made = plan(guest("vm"), VM, {"cores": 4})
    assert words(made) == ["cores: 4 -> 1 (needs a restart)"]
    assert dict(made.found[0].send) == {"cores": "1"}


def test_a_pending_removal_of_a_declared_key_is_taken_back() -> None:
    made = plan(guest(), LXC, deletes=["features"])
    assert words(made) == ["features: nesting=0 -> nesting=1 (needs a restart)"]


def test_parts_of_a_card_are_shown_apart_and_sent_together() -> None:
    values = LXC | {"net0": f"{LXC['net0']},tag=9,firewall=1"}
    made = plan(guest(), values, network={"bridge": "vmbr1", "gateway": "192.168.1.2"})
    assert words(made) == [
        "bridge: vmbr0 -> vmbr1 (live)",
        "vlan: 9 -> none (live)",
        "gateway: 192.168.1.1 -> 192.168.1.2 (live)",
    ]
    (sent,) = {difference.send["net0"] for difference in made.found}
    assert "tag=" not in sent and "firewall=1" in sent and "hwaddr=02:48:00:00:00:87" in sent


def test_a_containers_new_mtu_waits_with_its_sending_for_a_restart() -> None:
    made = plan(guest(), LXC, network={"mtu": 1400})
    assert words(made) == ["mtu: none -> 1400 (needs a restart)"]
    assert made.found[0].with_restart and not made.does_something


@pytest.mark.parametrize(
    ("wanted", "told", "match"),
    [
        (guest(disk=4096), {}, "disk would shrink from 8 to 4 GiB"),
        (guest("vm", disk=4096), {}, "disk would shrink from 8 to 4 GiB"),
        (
            guest(mounts=({"slot": "mp0", "path": "/a", "size": 1024},)),
            {"mp0": "x:y,mp=/a,size=2G"},
            "mp0 would shrink",
        ),
        (
            guest(mounts=({"slot": "mp0", "path": "/a", "size": 1024},)),
            {"mp0": "/mnt,mp=/a"},
            "slot mp0 already holds /mnt",
        ),
        (
            guest(mounts=({"slot": "mp0", "path": "/a", "source": "/b"},)),
            {"mp0": "x:y,mp=/a,size=2G"},
            "slot mp0 already",
        ),
        (
            guest(mounts=({"slot": "mp0", "path": "/a", "size": 8},)),
            {"protection": 1},
            "while protection is on",
        ),
        (guest(unprivileged=False), {}, "--data replace=comms"),
    ],
)
def test_the_impossible_is_refused_in_the_plan(wanted: Guest, told: dict[str, Any], match: str) -> None:
    made = plan(wanted, (LXC if wanted.kind == "lxc" else VM) | told)
    with pytest.raises(HearthError, match=match):
        check([made])


@pytest.mark.parametrize(
    ("there", "state", "match"),
    [
        ({"tags": ()}, "foreign", "not ours"),
        ({"name": "other"}, "foreign", "belongs to container other"),
        ({"kind": "vm"}, "foreign", "VM comms, not a lxc"),
        ({"template": True}, "foreign", "template"),
        ({"node": "pve2"}, "elsewhere", "lives on pve2"),
        ({"lock": "create", "name": "", "tags": ()}, "foreign", "never finished"),
    ],
)
def test_whose_guest_it_is(there: dict[str, Any], state: str, match: str) -> None:
    intent = Intent(guest(), fleet(guest()), "pve")
    found = seen(**({"kind": "lxc"} | there))
    made = plan_guest(intent, [NodeView("pve", ()), NodeView(found.node, (found,))])
    assert made.state == state and not made.does_something
    with pytest.raises(HearthError, match=match):
        check([made])


@pytest.mark.parametrize("there", [{"kind": "vm"}, {"template": True}, {"node": "pve2"}])
def test_adopting_does_not_help_where_it_cannot_be_the_guest(there: dict[str, Any]) -> None:
    intent = Intent(guest(), fleet(guest()), "pve", adopt=True)
    found = seen(**({"kind": "lxc"} | there))
    assert plan_guest(intent, [NodeView("pve", ()), NodeView(found.node, (found,))]).refusals


def test_adopting_a_guest_of_another_name_shows_the_name() -> None:
    made = plan(guest(), LXC | {"hostname": "old", "tags": "x"}, name="old", tags=("x",), adopt=True)
    assert made.action == "adopt" and made.refusals == ()
    assert words(made) == ["name: old -> comms (live)", "tags: x -> hearth, x (live)"]


def test_a_node_that_was_not_seen_leaves_the_guest_unknown() -> None:
    intent = Intent(guest(), fleet(guest()), "pve")
    assert plan_guest(intent, []).state == "unknown"
    assert plan_destroy(intent, []).state == "unknown"


def test_the_plan_as_json() -> None:
    told = json.loads(json.dumps(plan(guest(memory=1024), LXC).to_json()))
    assert told["state"] == "running" and told["action"] == "change"
    assert told["changes"] == [
        {"field": "memory", "old": "512", "new": "1024", "unit": "MiB", "kind": "live", "pending": False}
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"tun": True}, True),
        ({"devices": ("/dev/serial/by-id/a",)}, True),
        ({"features": {"nesting": True, "fuse": True}}, True),
        ({"unprivileged": False}, True),
        ({"unprivileged": False, "features": {}}, False),
        ({"mounts": ({"slot": "mp0", "path": "/a", "source": "/b"},)}, True),
    ],
)
def test_who_needs_the_wrapper(fields: dict[str, Any], expected: bool) -> None:
    wanted = guest(**fields)
    assert plan_guest(Intent(wanted, fleet(wanted), "pve"), [NodeView("pve", ())]).needs_root is expected


def test_a_destroy_without_knowing_the_configuration_counts_as_protected() -> None:
    intent = Intent(guest(), fleet(guest()), "pve", destroy=True)
    view = NodeView("pve", (seen(),))
    assert plan_destroy(intent, [view]).refusals
    assert not plan_destroy(intent, [view], Config(LXC)).refusals
    assert plan_destroy(intent, [view], Config(LXC | {"protection": 1})).refusals
    assert plan_destroy(intent, [NodeView("pve", (seen(tags=()),))], Config(LXC)).refusals

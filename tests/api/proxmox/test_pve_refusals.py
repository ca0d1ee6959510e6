"""What must not happen is refused before anything is written; and adopting, replacing, destroying."""

from __future__ import annotations

from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox import observe
from hearth.proxmox.guests import destroy
from hearth.proxmox.plan import GuestPlan, Intent, plan_destroy
from tests.api.proxmox.conftest import KEY, Home, container, fleet_of, machine


def writes(home: Home) -> int:
    """How many requests so far were no GETs."""
    return sum(count for method, count in home.api.requests.items() if method != "GET")


def refused(home: Home, guest: Guest, match: str, **named: Any) -> None:
    """A run is refused with these words and wrote nothing."""
    before, config = writes(home), home.config(guest.vmid)
    with pytest.raises(HearthError, match=match):
        home.run(guest, **named)
    assert writes(home) == before
    assert home.config(guest.vmid) == config


@pytest.mark.parametrize(
    ("guest", "match"),
    [
        (container(disk=4096), r"disk would shrink from 8 to 4 GiB"),
        (
            container(mounts=({"slot": "mp0", "path": "/srv", "size": 1024},)),
            "mp0 would shrink from 2 to 1 GiB",
        ),
        (
            container(unprivileged=False),
            r"unprivileged: yes -> no \(needs a replacement\).*--data replace=comms",
        ),
        (container(mounts=({"slot": "mp0", "path": "/x", "source": "/mnt/x"},)), "slot mp0 already holds"),
        (container(name="other"), "belongs to container comms.*adopt=other"),
        (machine(name="comms", vmid=135), "container comms, not a vm"),
    ],
)
def test_a_run_is_refused_before_anything_is_written(home: Home, guest: Guest, match: str) -> None:
    home.run(container(mounts=({"slot": "mp0", "path": "/srv", "size": 2048},)))
    refused(home, guest, match)


def test_a_vm_disk_does_not_shrink(home: Home) -> None:
    home.run(machine())
    refused(home, machine(disk=8192), "shrink from 16 to 8 GiB")


def test_an_untagged_vmid_is_never_touched(home: Home) -> None:
    home.pve.add_ct(135, "comms", node="pve", status="running")
    assert home.plan(container()).state == "foreign"
    refused(home, container(), "not ours.*adopt=comms")
    refused(home, container(), "not ours", replace=True)


def test_a_template_is_never_touched(home: Home) -> None:
    home.pve.add_ct(135, "comms", node="pve", template=True, config={"tags": "hearth"})
    refused(home, container(), "template", adopt=True)


def test_a_guest_on_another_node_is_refused(home: Home) -> None:
    home.run(container())
    home.pve.nodes["pve2"] = {"online": True}
    home.pve.ct(135).node = "pve2"
    intent = Intent(container(), fleet_of(container()), "pve")
    from hearth.proxmox.plan import check, plan_guest

    views = [observe.observe(home.api, node) for node in ("pve", "pve2")]
    plan = plan_guest(intent, views)
    assert plan.state == "elsewhere"
    with pytest.raises(HearthError, match="lives on pve2"):
        check([plan])


def test_a_changed_vmid_does_not_make_a_second_guest(home: Home) -> None:
    home.run(container())
    with pytest.raises(HearthError, match="already as VMID 135"):
        home.run(container(vmid=235))
    assert home.pve.guest(235) is None


def test_several_refusals_are_told_at_once(home: Home) -> None:
    home.run(container())
    with pytest.raises(HearthError, match=r"2 things are refused.*shrink.*replacement"):
        home.run(container(disk=1024, unprivileged=False))


def test_a_protected_guests_mount_points_are_refused_before_proxmox_does(home: Home) -> None:
    home.run(container(protection=True))
    mounts = ({"slot": "mp0", "path": "/srv", "size": 1024},)
    refused(home, container(protection=True, mounts=mounts), "while protection is on")
    home.run(container(protection=False, mounts=mounts))
    assert home.words(container(protection=False, mounts=mounts)) == []


def test_adopting_adds_the_tag_and_nothing_else(home: Home) -> None:
    home.run(container(tags=("old",)))
    home.pve.ct(135).config["tags"] = "old"
    before = home.config(135)
    plan = home.run(container(), adopt=True)
    assert plan.action == "adopt"
    assert [str(change) for change in plan.changes] == ["tags: old -> hearth, old (live)"]
    assert home.config(135) == {**before, "tags": "hearth;old"}
    assert home.plan(container()).action == "none"


def test_a_replacement_that_is_named_makes_the_guest_anew(home: Home) -> None:
    home.run(container())
    plan = home.run(container(unprivileged=True, disk=4096), replace=True)
    assert plan.action == "replace"
    assert "size=4G" in home.config(135)["rootfs"]
    assert home.pve.guest(135).status == "running"
    assert home.words(container(disk=4096)) == []


@pytest.mark.parametrize("where", ["fleet", "proxmox"])
def test_a_protected_guest_is_neither_replaced_nor_destroyed(home: Home, where: str) -> None:
    home.run(container(protection=True))
    guest = container(protection=True if where == "fleet" else None)
    if where == "fleet":
        home.pve.ct(135).config["protection"] = 0
    refused(home, guest, "protected", replace=True)
    before = writes(home)
    with pytest.raises(HearthError, match="protected"):
        destroy(home.api, doom(home, guest))
    assert writes(home) == before and home.pve.ct(135) is not None


def doom(home: Home, guest: Guest) -> GuestPlan:
    """The plan of teardown.py."""
    intent = Intent(guest, fleet_of(guest), "pve", (KEY,), destroy=True)
    view = observe.observe(home.api, "pve")
    seen = view.find(guest.vmid)
    return plan_destroy(intent, [view], observe.read_config(home.api, seen) if seen else None)


@pytest.mark.parametrize("guest", [container(), machine()], ids=["container", "vm"])
def test_destroying_leaves_no_guest_and_no_disk(home: Home, guest: Guest) -> None:
    home.run(guest)
    destroy(home.api, doom(home, guest))
    assert home.pve.guest(guest.vmid) is None
    assert home.volumes() == set()
    destroy(home.api, doom(home, guest))  # and once more: done already


def test_a_stranger_is_never_destroyed(home: Home) -> None:
    home.pve.add_ct(135, "comms", node="pve")
    with pytest.raises(HearthError, match="not ours"):
        destroy(home.api, doom(home, container()))
    assert home.pve.ct(135) is not None


def test_a_guest_that_lost_its_tag_meanwhile_is_not_destroyed(home: Home) -> None:
    home.run(container())
    plan = doom(home, container())
    home.pve.ct(135).config["tags"] = "somebody"
    with pytest.raises(HearthError, match="no longer ours"):
        destroy(home.api, plan)
    assert home.pve.ct(135) is not None

"""The life of a container, step by step, on any Proxmox VE: a real one (tests/live) or the fake (tests/api).

Everything is named `hearth-live-N` and carries our tag; only that is ever destroyed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.mac import mac_of
from hearth.fleet.model import Fleet, Guest, Image, Network, Node
from hearth.proxmox import observe
from hearth.proxmox.api import Api
from hearth.proxmox.guests import converge, destroy
from hearth.proxmox.plan import GuestPlan, Intent, plan_destroy, plan_guest

PREFIX = "hearth-live"


@dataclass(frozen=True)
class Place:
    """Where the guests are made: all given by the caller.

    Args:
        template: volume ID, e.g. local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst.
        vmids: first and last of a range that is free.
    """

    api: Api
    node: str
    storage: str
    bridge: str
    template: str
    vmids: tuple[int, int]

    def fleet(self, guest: Guest) -> Fleet:
        """A fleet of one guest."""
        images, _, rest = self.template.partition(":")
        address = "192.0.2.1"  # never used
        node = Node(
            name=self.node, address=address, endpoint="https://x", storage=self.storage, images=images
        )
        image = Image(name="template", kind="lxc", url=f"http://x/{rest.rpartition('/')[2]}")
        network = Network(name="net", bridge=self.bridge)
        return Fleet(nodes=(node,), networks=(network,), images=(image,), guests=(guest,))

    def guest(self, number: int = 0, **fields: Any) -> Guest:
        """A small container."""
        vmid = self.vmids[0] + number
        known: dict[str, Any] = {
            "name": f"{PREFIX}-{number}",
            "kind": "lxc",
            "node": self.node,
            "vmid": vmid,
            "network": "net",
            "mac": mac_of(vmid),
            "cores": 1,
            "memory": 128,
            "swap": 0,
            "disk": 1024,
            "image": "template",
            "unprivileged": True,
            "features": {"nesting": True},
        }
        return Guest(**(known | fields))

    def plan(self, guest: Guest, **named: bool) -> GuestPlan:
        """Look and plan."""
        intent = Intent(guest, self.fleet(guest), self.node, (), **named)
        view = observe.observe(self.api, self.node, ours=[guest.vmid])
        seen = view.find(guest.vmid)
        config = observe.read_config(self.api, seen) if seen else None
        make = plan_destroy if intent.destroy else plan_guest
        return make(intent, [view], config)

    def run(self, guest: Guest, **named: bool) -> GuestPlan:
        """A run, and the plan it began with."""
        plan = self.plan(guest, **named)
        converge(self.api, plan)
        return plan

    def settled(self, guest: Guest) -> None:
        """The next run has nothing to do."""
        plan = self.plan(guest)
        assert [str(change) for change in plan.changes] == [] and not plan.does_something

    def clean(self) -> None:
        """Destroy what is ours in the range; fails where anything else is in it."""
        first, last = self.vmids
        for seen in observe.observe(self.api, self.node, ours=range(first, last + 1)).guests:
            if not first <= seen.vmid <= last:
                continue
            assert seen.name.startswith(PREFIX), f"VMID {seen.vmid} is {seen.name}: give a range that is free"
            self.api.put(f"{seen.path}/config", protection=0, tags="hearth")
            guest = self.guest(seen.vmid - first, name=seen.name)
            destroy(self.api, self.plan(guest, destroy=True))


@contextmanager
def cleaned(place: Place) -> Iterator[Place]:
    """The place, empty before and after."""
    place.clean()
    try:
        yield place
    finally:
        place.clean()


def is_made_and_then_left_alone(place: Place) -> None:
    """From nothing to running; the second run writes nothing."""
    plan = place.run(place.guest())
    assert plan.action == "create"
    place.settled(place.guest())
    place.api.requests.clear()
    assert place.run(place.guest()).state == "running"
    assert dict(place.api.requests) == {"GET": 3}


def takes_live_changes(place: Place) -> None:
    """Every change that needs no restart: shown as live, applied, silent."""
    place.run(place.guest())
    fields: dict[str, Any] = {}
    for change in (
        {"memory": 192},
        {"cores": 2},
        {"swap": 64},
        {"disk": 1536},
        {"tags": ("one", "two")},
        {"description": "first\nsecond"},
        {"onboot": True},
        {"startup": {"order": 7, "up": 3}},
        {"mounts": ({"slot": "mp0", "path": "/srv/data", "size": 512, "backup": True},)},
        {"protection": True},
        {"protection": False},
    ):
        fields |= change
        plan = place.run(place.guest(**fields))
        assert [change.kind for change in plan.changes] == ["live"], plan.changes
        place.settled(place.guest(**fields))


def waits_for_its_restart(place: Place) -> None:
    """A change that needs one shows until it is allowed, and is then in force."""
    place.run(place.guest())
    changed = place.guest(features={"nesting": False})
    for _ in range(2):
        place.run(changed)
        assert [change.kind for change in place.plan(changed).changes] == ["restart"]
        assert place.plan(changed).changes[0].pending
    place.run(changed.model_copy(update={"restart": "allowed"}))
    place.settled(changed)
    assert place.plan(changed).state == "running"


def refuses(place: Place) -> None:
    """Shrinking, replacing unasked, strangers, protected guests: nothing is changed."""
    place.run(place.guest(protection=True))
    for guest, match in (
        (place.guest(disk=512), "shrink"),
        (place.guest(unprivileged=False), "replacement"),
        (place.guest(name="somebody-else"), "not ours"),
    ):
        with pytest.raises(HearthError, match=match):
            place.run(guest)
    with pytest.raises(HearthError, match="protected"):
        destroy(place.api, place.plan(place.guest(), destroy=True))
    place.settled(place.guest(protection=True))


def is_adopted(place: Place) -> None:
    """A guest without our tag is a stranger until it is named."""
    place.run(place.guest())
    seen = place.plan(place.guest()).seen
    assert seen is not None
    place.api.put(f"{seen.path}/config", tags="theirs")
    assert place.plan(place.guest()).state == "foreign"
    plan = place.run(place.guest(), adopt=True)
    assert plan.action == "adopt" and [change.field for change in plan.changes] == ["tags"]
    place.settled(place.guest())


def is_replaced_and_destroyed(place: Place) -> None:
    """Made anew where it is named; destroyed without a trace."""
    place.run(place.guest(disk=1536))
    place.run(place.guest(), replace=True)
    place.settled(place.guest())
    destroy(place.api, place.plan(place.guest(), destroy=True))
    assert place.plan(place.guest()).state == "absent"
    volumes = place.api.get(f"/nodes/{place.node}/storage/{place.storage}/content", vmid=place.guest().vmid)
    assert volumes == []


STEPS = (
    is_made_and_then_left_alone,
    takes_live_changes,
    waits_for_its_restart,
    refuses,
    is_adopted,
    is_replaced_and_destroyed,
)

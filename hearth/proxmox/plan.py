"""What a run will do with one guest: pure, from what was seen and what the fleet file says.

A guest is ours when its VMID, its name and its tag agree. What must not happen is refused here, before
anything changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hearth.errors import HearthError
from hearth.proxmox import desired, properties
from hearth.proxmox.change import Change, Difference
from hearth.proxmox.compare import differences
from hearth.proxmox.desired import TAG, Intent
from hearth.proxmox.observe import Config, NodeView, Seen
from hearth.proxmox.subject import Subject

__all__ = ["Change", "GuestPlan", "Intent", "check", "is_ours", "plan_destroy", "plan_guest"]

State = Literal["absent", "stopped", "running", "foreign", "elsewhere", "unknown"]
Action = Literal["create", "change", "adopt", "replace", "destroy", "none"]


@dataclass(frozen=True)
class GuestPlan:
    """What is, and what a run will do.

    Args:
        state: "foreign": the VMID is somebody else's. "elsewhere": ours, on another node. "unknown": its
            node was not seen.
        changes: field by field; of an absent guest none.
        refusals: why the run must not begin; empty where it may.
        starts: it will be started.
    """

    intent: Intent
    state: State
    action: Action = "none"
    seen: Seen | None = None
    config: Config | None = None
    found: tuple[Difference, ...] = ()
    refusals: tuple[HearthError, ...] = ()
    starts: bool = False

    @property
    def name(self) -> str:
        """The guest's name."""
        return self.intent.guest.name

    @property
    def changes(self) -> tuple[Change, ...]:
        """The differences as the admin reads them."""
        return tuple(difference.change for difference in self.found)

    @property
    def restarts(self) -> bool:
        """True where the run will restart the guest: a change needs it and the fleet file allows it."""
        waits = any(change.kind == "restart" for change in self.changes)
        return waits and self.state == "running" and self.intent.guest.restart == "allowed"

    @property
    def needs_root(self) -> bool:
        """True where a key must go through the node's SSH wrapper, now or after the guest is made."""
        return any(difference.root for difference in self.found) or (
            self.action in ("create", "replace") and _asks_root(self.intent)
        )

    @property
    def does_something(self) -> bool:
        """True where a run would write; what only waits for a restart that is not allowed does not count."""
        if self.action in ("create", "replace", "destroy") or self.starts or self.restarts:
            return True
        return any(_writes(difference) for difference in self.found)

    def to_json(self) -> dict[str, Any]:
        """For `--json`: strings, numbers, booleans, lists only."""
        guest = self.intent.guest
        return {
            "name": guest.name,
            "vmid": guest.vmid,
            "kind": guest.kind,
            "node": self.intent.node,
            "state": self.state,
            "action": self.action,
            "starts": self.starts,
            "restarts": self.restarts,
            "changes": [change.to_json() for change in self.changes],
            "refusals": [str(refusal) for refusal in self.refusals],
        }


def plan_guest(
    intent: Intent,
    views: Sequence[NodeView],
    config: Config | None = None,
    pools: Mapping[int, str] | None = None,
) -> GuestPlan:
    """The plan of one guest.

    Args:
        intent: what is wanted.
        views: the nodes that could be seen.
        config: of the guest that is there; None where there is none.
        pools: VMID -> pool, where the fleet declares pools (`observe.pools`).
    """
    seen = next((found for view in views if (found := view.find(intent.guest.vmid))), None)
    if seen is None:
        return _absent(intent, views)
    refused = _stranger(intent, seen)
    if refused:
        return GuestPlan(intent, _foreign_state(intent, seen), seen=seen, config=config, refusals=refused)
    if config is None:
        raise ValueError(f"the configuration of {seen.vmid} is needed to plan {intent.guest.name}")
    differing = differences(Subject(intent, config, seen.status == "running"), pools)
    if intent.replace:
        return _replacement(intent, seen, config, differing)
    # An appliance without an image was taken over: whether it runs is its owner's business. One with an image
    # is ours to make, and a run that was killed between its creation and its start must not leave it stopped.
    ours_to_run = not intent.guest.appliance or intent.guest.image is not None
    starts = seen.status == "stopped" and ours_to_run
    action: Action = "adopt" if not is_ours(intent, seen) else "change" if differing else "none"
    refusals = (*_impossible(intent, differing), *_replace_unasked(intent, differing))
    return GuestPlan(intent, seen.status, action, seen, config, differing, refusals, starts)


def plan_destroy(intent: Intent, views: Sequence[NodeView], config: Config | None = None) -> GuestPlan:
    """The plan of a guest named for `teardown.py`: refused unless it is ours and unprotected.

    An absent guest is done already.
    """
    seen = next((found for view in views if (found := view.find(intent.guest.vmid))), None)
    if seen is None:
        return GuestPlan(intent, "absent" if _visible(intent, views) else "unknown")
    action = f"destroy guest {intent.guest.name}"
    refusals: tuple[HearthError, ...] = ()
    if seen.kind != intent.guest.kind or not is_ours(intent, seen):
        reason = f"VMID {seen.vmid} is {_called(seen)}, and not ours"
        refusals = (HearthError(action, reason, "Hearth destroys only guests that it made or adopted"),)
    elif _protected(intent, config):
        refusals = (HearthError(action, "it is protected", _unprotect(seen)),)
    return GuestPlan(intent, seen.status, "destroy", seen, config, refusals=refusals)


def check(plans: Sequence[GuestPlan]) -> None:
    """Raise what is refused, all of it at once, before anything changes.

    Raises:
        HearthError: one or several plans are refused.
    """
    refusals = [refusal for plan in plans for refusal in plan.refusals]
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        listed = "; ".join(str(refusal) for refusal in refusals)
        raise HearthError("begin", f"{len(refusals)} things are refused: {listed}", "nothing was changed")


def is_ours(intent: Intent, seen: Seen) -> bool:
    """VMID, name and tag agree; names as DNS compares them, without regard to case (RFC 4343)."""
    named = seen.name.lower() == intent.guest.name.lower()
    return seen.vmid == intent.guest.vmid and named and TAG in seen.tags


def _visible(intent: Intent, views: Sequence[NodeView]) -> bool:
    return any(view.node == intent.node for view in views)


def _absent(intent: Intent, views: Sequence[NodeView]) -> GuestPlan:
    if not _visible(intent, views):
        return GuestPlan(intent, "unknown")
    twin = next(
        (s for view in views for s in view.guests if s.name == intent.guest.name and TAG in s.tags), None
    )
    refusals: tuple[HearthError, ...] = ()
    if twin is not None:
        reason = f"a guest of this name and with our tag is there already as VMID {twin.vmid} on {twin.node}"
        refusals = (HearthError(f"create guest {twin.name}", reason, f"declare vmid: {twin.vmid}"),)
    return GuestPlan(intent, "absent", "create", refusals=refusals, starts=True)


def _stranger(intent: Intent, seen: Seen) -> tuple[HearthError, ...]:
    """Why a guest at our VMID cannot be taken for ours."""
    guest, action = intent.guest, f"use VMID {seen.vmid} for guest {intent.guest.name}"
    if seen.lock == "create":
        reason = f"on {seen.node} it holds a guest that was never finished, and no task works on it"
        return (
            HearthError(action, reason, f"look at it, then on the node: {_tool(seen)} unlock and destroy"),
        )
    if seen.kind != guest.kind:
        remedy = "give the guest another vmid, or mend its kind"
        return (HearthError(action, f"it is {_called(seen)}, not a {guest.kind}", remedy),)
    if seen.template:
        return (HearthError(action, f"it is a template ({_called(seen)})", "give the guest another vmid"),)
    if seen.node != intent.node:
        remedy = f"declare node: {seen.node}, or migrate it"
        return (HearthError(action, f"{_called(seen)} lives on {seen.node}, not on {intent.node}", remedy),)
    if not is_ours(intent, seen) and not intent.adopt:
        remedy = f"--data adopt={guest.name} if it is yours, or give the guest another vmid"
        return (HearthError(action, f"it belongs to {_called(seen)}, which is not ours", remedy),)
    return ()


def _foreign_state(intent: Intent, seen: Seen) -> State:
    return "elsewhere" if seen.node != intent.node and seen.kind == intent.guest.kind else "foreign"


def _replacement(intent: Intent, seen: Seen, config: Config, found: tuple[Difference, ...]) -> GuestPlan:
    refusals: tuple[HearthError, ...] = ()
    if _protected(intent, config):
        refusals = (HearthError(f"replace guest {seen.name}", "it is protected", _unprotect(seen)),)
    elif not is_ours(intent, seen):
        refusals = (HearthError(f"replace guest {intent.guest.name}", "it is not ours", "adopt it first"),)
    return GuestPlan(intent, seen.status, "replace", seen, config, found, refusals, starts=True)


def _impossible(intent: Intent, found: Sequence[Difference]) -> tuple[HearthError, ...]:
    action = f"change guest {intent.guest.name}"
    return tuple(HearthError(action, item.refused, item.remedy) for item in found if item.refused)


def _replace_unasked(intent: Intent, found: Sequence[Difference]) -> tuple[HearthError, ...]:
    fields = [str(item.change) for item in found if item.change.kind == "replace"]
    if not fields:
        return ()
    name = intent.guest.name
    remedy = f"--data replace={name} destroys it and makes it anew"
    return (HearthError(f"change guest {name}", ", ".join(fields), remedy),)


def _protected(intent: Intent, config: Config | None) -> bool:
    there = config is None or properties.flag(config.next("protection"))
    return bool(intent.guest.protection) or there


def _unprotect(seen: Seen) -> str:
    return "declare protection: false and run deploy.py first"


def _tool(seen: Seen) -> str:
    return "pct" if seen.kind == "lxc" else "qm"


def _called(seen: Seen) -> str:
    return f"{'container' if seen.kind == 'lxc' else 'VM'} {seen.name or 'without a name'}"


def _asks_root(intent: Intent) -> bool:
    guest = intent.guest
    wanted = {key for key, value in desired.features(guest).items() if value not in ("0", "")}
    beyond = wanted - {"nesting"} or (wanted and guest.unprivileged is False)
    return bool(beyond or desired.devices(guest) or desired.binds(guest) or guest.devices)


def _writes(difference: Difference) -> bool:
    if difference.change.pending or (difference.with_restart and difference.change.kind == "restart"):
        return False
    return bool(difference.send or difference.root or difference.grow or difference.pool)

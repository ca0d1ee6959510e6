"""The guests: what their plans say, and those that are nobody's. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from hearth.drift.finding import Finding
from hearth.proxmox.change import Change
from hearth.proxmox.desired import TAG
from hearth.proxmox.observe import NodeView, Seen
from hearth.proxmox.plan import GuestPlan

WAITS = "it is set, and waits for the guest's next restart"
NOT_ALLOWED = "`restart: allowed` in the fleet file lets a deploy restart the guest"


def of_plan(plan: GuestPlan) -> Iterator[Finding]:
    """What of a guest itself is otherwise: its existence, its state, each field, and what is refused.

    Args:
        plan: the plan of a run (hearth.proxmox.plan).
    """
    if plan.state == "absent":
        yield Finding(plan.name, "guest", "", "state", "absent", "running")
    elif plan.starts and plan.state == "stopped":
        yield Finding(plan.name, "guest", "", "state", "stopped", "running")
    for change in plan.changes:
        yield _of_change(plan, change)
    shown = any(change.kind == "replace" for change in plan.changes)
    for refusal in plan.refusals:
        if not shown:  # else the field has said it, and better
            yield Finding(plan.name, "guest", "", "identity", refusal.reason, "", refusal.remedy)


def _of_change(plan: GuestPlan, change: Change) -> Finding:
    unit = f" {change.unit}" if change.unit else ""
    remedy = ""
    if change.pending:
        remedy = WAITS
    elif change.kind == "restart" and plan.intent.guest.restart != "allowed":
        remedy = NOT_ALLOWED
    elif change.kind == "replace":
        remedy = (
            f"--data replace={plan.name} makes the guest anew; or write what is there into the fleet file"
        )
    return Finding(plan.name, "guest", "", change.field, f"{change.old}{unit}", f"{change.new}{unit}", remedy)


def examined_inside(plan: GuestPlan) -> bool:
    """Whether a dry run can look into a guest: it runs, and nothing about it stops the run."""
    return plan.state == "running" and not plan.refusals


def left_out(plan: GuestPlan) -> Iterator[Finding]:
    """That nobody looks into a running guest of ours, because a deploy would refuse it as it is."""
    if plan.state == "running" and plan.refusals:
        yield Finding(plan.name, "guest", "", "inside", "not looked at: a deploy refuses the guest as it is")


def left_over(views: Sequence[NodeView], ours: Iterable[int], known: Collection[int | str]) -> list[Finding]:
    """Guests that wear our tag and are no longer in the fleet file: a deploy leaves them alone.

    Args:
        views, ours, known: see `unmanaged`.
    """
    return [
        Finding(
            view.node,
            "guest",
            f"{seen.vmid} {seen.name}".rstrip(),
            "fleet file",
            f"{seen.status}, with the tag {TAG}, and not in the fleet file",
            "in it, or destroyed",
            "back into the fleet file (or `count` as it was), then teardown.py --data destroy=NAME",
        )
        for view, seen in _strangers(views, ours, known)
        if TAG in seen.tags
    ]


def _strangers(
    views: Sequence[NodeView], ours: Iterable[int], known: Collection[int | str]
) -> Iterator[tuple[NodeView, Seen]]:
    fleet = set(ours)
    for view in views:
        for seen in view.guests:
            if seen.vmid not in fleet and not seen.template and not {seen.vmid, seen.name} & {*known}:
                yield view, seen


def unmanaged(views: Sequence[NodeView], ours: Iterable[int], known: Collection[int | str]) -> list[Finding]:
    """Guests of the nodes that neither the fleet file nor our tag claims.

    Args:
        views: the nodes.
        ours: VMIDs of the fleet.
        known: VMIDs and names that the admin knows of: they are passed over.
    """
    return [
        Finding(
            view.node,
            "unmanaged",
            f"{seen.vmid} {seen.name}".rstrip(),
            "",
            f"a {'container' if seen.kind == 'lxc' else 'VM'} that is not in the fleet file, {seen.status}",
        )
        for view, seen in _strangers(views, ours, known)
        if TAG not in seen.tags
    ]

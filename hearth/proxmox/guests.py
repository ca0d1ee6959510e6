"""Carry out a guest's plan: resumable and idempotent, every write read back.

Whatever a killed run left is what the next one plans from: the plan is always made from what is there.
"""

from __future__ import annotations

from typing import Any

from hearth.errors import HearthError
from hearth.proxmox import observe
from hearth.proxmox.api import Api, LostAnswerError
from hearth.proxmox.change import Difference
from hearth.proxmox.create import create
from hearth.proxmox.observe import Seen
from hearth.proxmox.plan import GuestPlan, check
from hearth.proxmox.power import reboot, shut_down, start
from hearth.proxmox.remove import demolish, destroy
from hearth.proxmox.work import TRIES, Say, Work, quiet, told
from hearth.proxmox.wrapper import NodeShell

__all__ = ["converge", "destroy", "restart_now"]

TASK_TIMEOUT = 600.0  # seconds that another task on the guest may take
BROKEN_GROWTH = "Failed to update the container's filesystem"


def converge(
    api: Api, plan: GuestPlan, shell: NodeShell | None = None, say: Say = quiet, restart: bool = True
) -> None:
    """Make a guest what its plan says: create, adopt, change, replace, start.

    Args:
        plan: of `plan_guest`. shell: the node's wrapper, where `plan.needs_root`.
        say: told what is being done, in a line each.
        restart: whether an allowed restart happens now; if not, what needs it waits.

    Raises:
        HearthError: it is refused (then nothing was changed), or Proxmox refused or failed; run again.
    """
    check([plan])
    if plan.state == "unknown":
        raise HearthError(f"change guest {plan.name}", f"node {plan.intent.node} was not seen", "is it up?")
    if plan.needs_root and shell is None:
        reason = "some of its keys go through the node's SSH wrapper, which is not at hand"
        raise HearthError(f"change guest {plan.name}", reason, "`hearth doctor` says how to install it")
    work = Work(api, plan.intent, shell, say, restart)
    with told(f"change guest {plan.name}"):
        _converge(work, plan)


def _converge(work: Work, plan: GuestPlan) -> None:
    if plan.action == "replace" and plan.seen is not None:
        work.say(f"{plan.name}: destroying it to make it anew")
        demolish(work, plan.seen, purge=False)
    made = plan.action in ("create", "replace")
    if made:
        create(work)
    before = work.plan() if made else plan
    down = work.restart and before.restarts and _has_silent(before)
    if down:
        before = _shut_down(work, before)
    current = settle(work, before)
    if (made or down or current.starts) and current.state != "running":
        work.say(f"{plan.name}: starting")
        start(work.api, current.seen or _gone(plan), f"start guest {plan.name}")
        current = settle(work, work.plan())
    if current.restarts and work.restart:
        restart(work, current)


def _has_silent(plan: GuestPlan) -> bool:
    return any(difference.with_restart for difference in plan.found)


def _shut_down(work: Work, plan: GuestPlan) -> GuestPlan:
    """Bring a guest down for changes that no later plan would show, were the run killed before the restart.

    A stopped guest takes them at its start, and the next run starts it.
    """
    work.say(f"{plan.name}: shutting down, for changes that it sees only when it starts")
    shut_down(work.api, plan.seen or _gone(plan), f"shut down guest {plan.name}")
    return work.plan()


def settle(work: Work, plan: GuestPlan) -> GuestPlan:
    """Write what differs and read it back.

    Returns:
        The plan from what is there afterwards.

    Raises:
        HearthError: what was written is not there.
    """
    for _ in range(TRIES):
        check([plan])
        todo = _todo(work, plan)
        if not todo or plan.seen is None:
            return plan
        for difference in todo:
            work.say(f"{work.name}: {difference.change}")
        lost = _write(work, plan, todo)
        plan = work.plan()
        left = [str(difference.change) for difference in _todo(work, plan)]
        if left and lost is None:
            reason = f"Proxmox took it, but afterwards there is still {'; '.join(left)}"
            raise HearthError(f"change guest {work.name}", reason, "is somebody else changing it? run again")
    if _todo(work, plan) and lost is not None:
        raise lost
    return plan


def _todo(work: Work, plan: GuestPlan) -> list[Difference]:
    """The differences to write now; with_restart ones only where the restart follows or nothing runs."""
    restarting = plan.restarts and work.restart
    return [
        difference
        for difference in plan.found
        if not difference.change.pending
        and (restarting or not difference.with_restart or difference.change.kind == "live")
    ]


def _write(work: Work, plan: GuestPlan, todo: list[Difference]) -> LostAnswerError | None:
    """Everything in its order; gives the lost answer after which all must be read back."""
    seen = plan.seen or _gone(plan)
    send: dict[str, Any] = {key: value for difference in todo for key, value in difference.send.items()}
    root = {key: value for difference in todo for key, value in difference.root.items()}
    digest = plan.config.digest if plan.config else None
    protect = send.pop("protection", None)
    try:
        if protect == "0":  # first, and alone: what it protects is checked against what is there
            work.api.put(f"{seen.path}/config", protection=0, digest=digest)
            digest = None
        if send:
            work.api.put(f"{seen.path}/config", digest=digest, **send)
        if root and work.shell is not None:
            work.shell.set_root_only(seen.vmid, seen.kind, root)
        for slot, size in (pair for difference in todo for pair in difference.grow.items()):
            grow(work, seen, slot, size)
        for pool in {difference.pool for difference in todo if difference.pool}:
            work.api.put("/pools", poolid=pool, vms=seen.vmid, **{"allow-move": 1})
        if protect == "1":  # last: Proxmox refuses changes of a protected container's mount points
            work.api.put(f"{seen.path}/config", protection=1)
    except LostAnswerError as error:
        observe.wait_for_tasks(work.api, seen, TASK_TIMEOUT)
        return error
    return None


def grow(work: Work, seen: Seen, slot: str, size: int) -> None:
    """Grow a disk to a size in MiB.

    Raises:
        HearthError: it did not grow, or a container's file system in it did not (the task then ends OK).
    """
    what = f"grow {slot} of guest {work.name}"
    log = work.api.task("PUT", f"{seen.path}/resize", what, disk=slot, size=f"{size}M")
    if any(BROKEN_GROWTH in line for line in log):
        remedy = f"on the node: pct stop {seen.vmid}, pct fsck {seen.vmid}, then grow the file system"
        raise HearthError(what, "the disk grew, the file system in it did not", remedy)


def restart(work: Work, plan: GuestPlan) -> None:
    """Restart a running guest for what waits, and see that it came into force.

    What only a restart shows is written right before it. Proxmox itself brings the guest down and up again: a
    run through this guest may lose its line meanwhile.

    Raises:
        HearthError: it did not come down or up again, or the change still waits.
    """
    if plan.seen is None or plan.intent.guest.restart != "allowed":
        raise HearthError(
            f"restart guest {plan.name}", "the fleet file does not allow it", "restart: allowed"
        )
    with told(f"restart guest {plan.name}"):
        settle(work, plan)
        work.say(f"{plan.name}: restarting")
        reboot(work.api, plan.seen, f"restart guest {plan.name}")
        left = [change for change in work.plan().changes if change.pending]
    if left:
        reason = f"afterwards there is still {'; '.join(map(str, left))}"
        raise HearthError(f"restart guest {plan.name}", reason, "look at it in Proxmox's web interface")


def restart_now(api: Api, plan: GuestPlan, shell: NodeShell | None = None, say: Say = quiet) -> None:
    """Restart a guest whose restart was put off, from what is there now.

    Args:
        plan: of the guest, made at any time before. shell: the node's wrapper, where `plan.needs_root`.
        say: told what is being done, in a line each.

    Raises:
        HearthError: as `restart`.
    """
    work = Work(api, plan.intent, shell, say, restart=True)
    restart(work, work.plan())


def _gone(plan: GuestPlan) -> Seen:
    raise HearthError(f"change guest {plan.name}", "it vanished meanwhile", "run again")

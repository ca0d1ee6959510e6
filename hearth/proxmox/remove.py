"""Stop and destroy a guest that is ours."""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.proxmox import observe
from hearth.proxmox.api import Api, LostAnswerError
from hearth.proxmox.observe import Seen
from hearth.proxmox.plan import GuestPlan, check, is_ours
from hearth.proxmox.power import stop
from hearth.proxmox.work import TRIES, Say, Work, quiet, told

DESTROY_TIMEOUT = 600.0  # seconds


def destroy(api: Api, plan: GuestPlan, say: Say = quiet) -> None:
    """Destroy a guest that `plan_destroy` allows, with its disks and what names it (backup jobs, HA).

    Raises:
        HearthError: it is refused, or Proxmox could not.
    """
    check([plan])
    if plan.seen is None:
        return
    work = Work(api, plan.intent, None, say, restart=False)
    with told(f"destroy guest {plan.name}"):
        say(f"{plan.name}: destroying {plan.seen.vmid}")
        demolish(work, plan.seen, purge=True)


def demolish(work: Work, seen: Seen, purge: bool) -> None:
    """Stop and destroy; asks once more whether it is still ours.

    A guest that is made anew keeps its place in backup jobs: it is not purged.
    """
    what = f"destroy guest {work.name}"
    lost: LostAnswerError | None = None
    for _ in range(TRIES):
        present = work.look()
        if present is None:
            return
        if not is_ours(work.intent, present):
            raise HearthError(what, f"VMID {seen.vmid} is no longer ours", "somebody else changed it")
        if present.status == "running":
            stop(work.api, present, f"stop guest {work.name}")
        options = {"purge": int(purge), "destroy-unreferenced-disks": 1}
        try:
            work.api.task("DELETE", present.path, what, DESTROY_TIMEOUT, **options)
        except LostAnswerError as error:
            lost = error
            observe.wait_for_tasks(work.api, present, DESTROY_TIMEOUT)
    if work.look() is not None:
        raise lost or HearthError(what, "Proxmox ended its task, but the guest is still there", "run again")

"""Make a guest, and find out what became of it where the answer was lost."""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.proxmox import desired, observe
from hearth.proxmox.api import ApiError, LostAnswerError
from hearth.proxmox.observe import PATHS
from hearth.proxmox.plan import is_ours
from hearth.proxmox.work import TRIES, Work, told

CREATE_TIMEOUT = 1800.0  # seconds; a cloud image on slow storage
GRACE = 5.0  # seconds until a create whose answer was lost must show


def create(work: Work) -> None:
    """Make the guest and wait until Proxmox has; it does not run yet.

    Raises:
        HearthError: Proxmox could not.
    """
    guest, what = work.intent.guest, f"create guest {work.name}"
    creation = from_archive(work.intent) if work.intent.archive else desired.creation(work.intent)
    path = f"/nodes/{work.intent.node}/{PATHS[guest.kind]}"
    work.say(f"{work.name}: creating {'container' if guest.kind == 'lxc' else 'VM'} {guest.vmid}")
    with told(what), work.api.creating(creation.storage):
        for attempt in range(TRIES):
            try:
                work.api.task("POST", path, what, CREATE_TIMEOUT, **creation.params)
            except LostAnswerError:
                if not _appears(work) and attempt + 1 < TRIES:
                    continue
            except ApiError as error:
                if "already exists" not in error.reason or not attempt:
                    raise
            break
        _finished(work, what)


def from_archive(intent: desired.Intent) -> desired.Creation:
    """How to make a guest from a backup: what it was then; what the fleet file says is settled afterwards.

    `unique` is not sent: its MAC address stays.
    """
    guest, archive = intent.guest, str(intent.archive)
    source: dict[str, str | int] = (
        {"ostemplate": archive, "restore": 1} if guest.kind == "lxc" else {"archive": archive}
    )
    return desired.Creation({"vmid": guest.vmid, "storage": intent.storage, **source}, intent.storage)


def _appears(work: Work) -> bool:
    """Whether a guest shows up whose create request got no answer."""
    deadline = work.api.clock() + GRACE
    while work.look() is None:
        if work.api.clock() >= deadline:
            return False
        work.api.sleep(0.5)
    return True


def _finished(work: Work, what: str) -> None:
    seen = work.look()
    if seen is not None and seen.lock == "create":
        observe.wait_for_tasks(work.api, seen, CREATE_TIMEOUT)
        seen = work.look()
    if seen is None or not is_ours(work.intent, seen):
        raise HearthError(what, "Proxmox ended its task, but the guest is not there as asked", "run again")

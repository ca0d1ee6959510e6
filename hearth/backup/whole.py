"""Which guests a restore makes from Proxmox's own backups, each looked at before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyinfra import logger

from hearth.backup.proof import Choice, shown
from hearth.errors import HearthError
from hearth.proxmox.archives import Archive, candidates, listed, why_not

if TYPE_CHECKING:
    from hearth.fleet.model import Guest
    from hearth.run import Run


def chosen(run: Run, guests: Iterable[Guest], choice: Choice) -> dict[str, Archive]:
    """The backups to make guests from: guest -> backup. A guest without one is made new.

    Args:
        run: the run.
        guests: those that are restored.
        choice: what was asked for.

    Raises:
        HearthError: the newest backup of a guest cannot be used; which one could is said.
    """
    jobs = run.fleet.backup.jobs if run.fleet.backup else ()
    storages = sorted({job.storage for job in jobs})
    wanted = (run.options.data or {}).get("archives")
    if wanted not in (None, "no"):
        raise HearthError("restore", f"archives={wanted} means nothing", "write --data archives=no")
    if not storages or wanted == "no":
        return {}
    found: dict[str, Archive] = {}
    there: dict[str, list[Archive]] = {}
    for guest in guests:
        if run.survey.plan(guest).action not in ("create", "replace"):
            continue
        node = run.survey.node_of(guest)
        api = run.survey.api(node)
        if node not in there:
            there[node] = listed(api, node, storages)
        problems: list[str] = []
        for archive in candidates(there[node], guest, choice.date):
            reason = why_not(api, node, archive, guest) or _damage(run, node, archive, guest)
            if not reason:
                found[guest.name] = _usable(guest, archive, problems)
                break
            problems.append(f"{archive.volid}: {reason}")
        else:
            if problems:
                raise HearthError(
                    f"restore {guest.name}",
                    f"none of Proxmox's backups of it can be used: {'; '.join(problems)}",
                    "--data archives=no makes guests new, and brings their states back",
                )
    return found


def _damage(run: Run, node: str, archive: Archive, guest: Guest) -> str:
    """What is wrong with a backup's content: the node reads it whole. Nothing where it is whole.

    Raises:
        HearthError: nobody can say, and a guest that is there would be destroyed for it.
    """
    if archive.verified:
        return ""
    try:
        return run.convergence.on_node(node).why_not_whole(archive.volid)
    except HearthError as error:
        if run.survey.plan(guest).action == "replace":
            raise HearthError(
                f"replace {guest.name} by {archive.volid}",
                f"nobody can say whether it is whole: {error}",
                "`python bootstrap.py` lets Hearth's key ask the node; --data archives=no makes guests new, "
                "and brings their states back",
            ) from None
        logger.warning(f"--> Restore: nobody can say whether {archive.volid} is whole: {error}")
        return ""


def _usable(guest: Guest, archive: Archive, problems: list[str]) -> Archive:
    if problems:
        raise HearthError(
            f"restore {guest.name}",
            "; ".join(problems),
            f"the next older one can be used, of {shown(archive.time)}: --data date={shown(archive.time)}; "
            "--data archives=no makes guests new, and brings their states back",
        )
    return archive

"""The section `backup` of the fleet file: Proxmox's backup jobs. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from hearth.fleet.addresses import word
from hearth.fleet.entries import BackupEntry, BackupJobEntry
from hearth.fleet.mistakes import Place, Report, nearest, quoted
from hearth.fleet.model import Backup, BackupJob
from hearth.fleet.scalars import show
from hearth.fleet.schedules import apart
from hearth.fleet.sections import check_name, entry, require

LEAST_APART = 60  # minutes: never two heavy jobs at once
NOTES = "{{guestname}} ({{vmid}})"
Jobs = Mapping[str, BackupJobEntry]


def drafts(section: BackupEntry | None, guests: Sequence[str], report: Report) -> Jobs:
    """Read the jobs, and report every mistake of theirs.

    Args:
        section: the section, where the file has it.
        guests: the names of all guests.
        report: gets the mistakes.
    """
    if section is None:
        return {}
    found: dict[str, BackupJobEntry] = {}
    for name, data in section.jobs.items():
        place: Place = ("backup", "jobs", name)
        check_name(word, name, place, report)
        if not isinstance(data, dict):
            report.add(place, f"is {show(data)} where keys and values belong", "write keys below it")
            continue
        found[name] = entry(BackupJobEntry, data, place, report)
        _check(place, found[name], section, guests, report)
    _check_apart(found, report)
    return found


def backup(section: BackupEntry | None, jobs: Jobs, guests: Sequence[str]) -> Backup | None:
    """The section of a file without mistakes."""
    if section is None:
        return None
    return Backup(jobs=tuple(_job(name, job, section, guests) for name, job in jobs.items()))


def _job(name: str, job: BackupJobEntry, section: BackupEntry, guests: Sequence[str]) -> BackupJob:
    keep = job.keep.model_dump(exclude_none=True)
    return BackupJob(
        name=name,
        schedule=job.schedule or "",
        guests=tuple(guests) if job.guests is None else job.guests,
        storage=job.storage or section.storage or "",
        mode=job.mode,
        keep=tuple(keep.items()),
        notes=job.notes or NOTES,
    )


def _check(
    place: Place, job: BackupJobEntry, section: BackupEntry, guests: Sequence[str], report: Report
) -> None:
    require((*place, "schedule"), job.schedule, report, 'write when it begins, e.g. schedule: "02:30"')
    if job.storage is None and not report.unsure(("backup", "storage")):
        right = "write where backups go, here or once for all as backup.storage"
        require((*place, "storage"), section.storage, report, right)
    kept = job.keep.model_dump(exclude_none=True) or None
    where: Place = (*place, "keep")
    if not any(broken[: len(where)] == where for broken in report.broken):
        require(where, kept, report, "write how many are kept, e.g. keep: {daily: 7, weekly: 4}")
    if job.guests is not None and not job.guests:
        report.add((*place, "guests"), "is an empty list", "name guests, or leave it out: all of them")
    for index, name in enumerate(job.guests or ()):
        item = (*place, "guests", index)
        if name not in guests:
            report.add(item, f"there is no guest {quoted(name)}", nearest(name, guests))
        elif name in (job.guests or ())[:index]:
            report.add(item, f"names guest {name} twice", "remove one of them")


def _check_apart(jobs: Jobs, report: Report) -> None:
    timed = [(name, job.schedule) for name, job in jobs.items() if job.schedule is not None]
    for (first, one), (second, other) in combinations(timed, 2):
        between = apart(one, other)
        if between < LEAST_APART:
            report.add(
                ("backup", "jobs", second, "schedule"),
                f"begins {between} minutes from {first}: two heavy jobs at once",
                f"write a time at least {LEAST_APART} minutes away from every other job's",
            )

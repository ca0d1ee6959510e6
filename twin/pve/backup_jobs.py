"""Correction: backup jobs are stateful. Recordings of /cluster/backup.

Source: PVE/API2/Backup.pm (pve-manager): what is checked, what conflicts, and how a change of selection drops
the other ones.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from fakepve import PveError
from fakepve.routing import die, param_error, split_list

from twin.pve.permissions import Permissions

_SELECTIONS = ("all", "vmid", "pool")
_CONFLICT = "400 Parameter verification failed.\n"
_WORDS = ("minutely", "hourly", "daily", "weekly", "monthly", "yearly")
_DAYS = "mon,tue,wed,thu,fri,sat,sun"


class BackupJobs(Permissions):
    """Jobs. `backup_jobs` holds them: id -> keys."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backup_jobs: dict[str, dict[str, Any]] = {}

    def _routes_backup_jobs(self) -> list[Any]:
        jobs = "/cluster/backup"
        return [
            ("GET", jobs, self._job_list),
            ("POST", jobs, self._job_create),
            ("GET", jobs + "/{id}", self._job_read),
            ("PUT", jobs + "/{id}", self._job_update),
            ("DELETE", jobs + "/{id}", self._job_delete),
        ]

    async def _job_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        return [self._job_shown(ident) for ident in sorted(self.backup_jobs)]

    async def _job_read(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        if v["id"] not in self.backup_jobs:
            raise param_error(id=f"No such job '{v['id']}'")
        return self._job_shown(v["id"])

    async def _job_create(self, v: dict[str, Any], user: str) -> None:
        job = dict(v)
        ident = str(job.pop("id", None) or uuid.uuid4())
        self._may_have_jobs_on(user, job.get("storage"))
        if ident in self.backup_jobs:
            raise die(f"Job '{ident}' already exists")
        _timed(job, needed=True)
        job.setdefault("enabled", 1)
        self.backup_jobs[ident] = _selected(job)

    async def _job_update(self, v: dict[str, Any], user: str) -> None:
        changes = dict(v)
        ident = str(changes.pop("id"))
        gone = split_list(changes.pop("delete", ""))
        if not changes and not gone:
            raise die("no options specified")
        self._may_have_jobs_on(user, changes.get("storage"))
        if ident not in self.backup_jobs:
            raise die("no such vzdump job")
        self._may_have_jobs_on(user, self.backup_jobs[ident].get("storage"))
        _timed(changes, needed=False)
        job = {key: value for key, value in self.backup_jobs[ident].items() if key not in gone}
        for one in _SELECTIONS:
            if one in changes:  # a new selection takes the others' place
                job = {key: value for key, value in job.items() if key not in (*_SELECTIONS, "exclude")}
        self.backup_jobs[ident] = _selected({**job, **changes})

    async def _job_delete(self, v: dict[str, Any], user: str) -> None:
        if v["id"] not in self.backup_jobs:
            raise die(f"{_CONFLICT}id: No such job '{v['id']}'\n")
        del self.backup_jobs[v["id"]]

    def _may_have_jobs_on(self, user: str, storage: str | None) -> None:
        """`assert_param_permission_create` and `..._update`: who sets a job's storage may allocate there."""
        if storage and not self.allowed(user, f"/storage/{storage}", "Datastore.Allocate"):
            raise PveError(403, f"Permission check failed (/storage/{storage}, Datastore.Allocate)")

    def _job_shown(self, ident: str) -> dict[str, Any]:
        job = {**self.backup_jobs[ident], "id": ident, "type": "vzdump"}
        if isinstance(job.get("prune-backups"), str):
            pairs = (part.partition("=") for part in job["prune-backups"].split(","))
            job["prune-backups"] = {name: value for name, _, value in pairs}
        return job


def _timed(job: dict[str, Any], needed: bool) -> None:
    at, days = job.pop("starttime", None), job.pop("dow", None)
    if at is not None:
        job["schedule"] = at if days in (None, _DAYS) else f"{days} {at}"
    elif "schedule" in job:
        _check(str(job["schedule"]))
    elif needed:
        raise param_error(schedule="neither 'starttime' nor 'schedule' were set")


def _check(schedule: str) -> None:
    """As far as tests ask for it: a calendar event has a time, or is one of systemd's words."""
    if not re.search(r"\d", schedule) and schedule not in _WORDS:
        text = f"invalid format - invalid calendar event '{schedule}' - unable to parse calendar event\n\n"
        raise param_error(schedule=text)


def _selected(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("exclude"):
        job["all"] = 1
    if job.get("all") and job.get("vmid"):
        raise die(f"{_CONFLICT}all: option conflicts with option 'vmid'\n")
    if not any(job.get(one) for one in _SELECTIONS):
        raise die(f"{_CONFLICT}vmid: property is missing\n")
    return job

"""A copy of the backups' repository somewhere else: any place that restic knows, encrypted before it leaves.

On the guest of `config_backup`: the local repository comes first, and both open with one password.
"""

from __future__ import annotations

import json
from typing import Any

from hearth.backup import keeping
from hearth.backup.keeping import CONFIG, Job, own
from hearth.backup.remote import RCLONE, VALUES, Remote, remote
from hearth.backup.schedule import retention
from hearth.errors import HearthError
from hearth.ops import apt, files, shell, systemd
from hearth.ops.files import File
from hearth.role.declaration import Role
from hearth.role.here import Here
from hearth.role.watched import TEXTFILES

FOLDER = f"{CONFIG}/remote"
SETTINGS = f"{CONFIG}/remote.json"
WHOLE = 100
JOBS = {
    "copy": ("Copy the backups every day", "Copy the backups elsewhere"),
    "check": ("Check the copy every week", "Read a part of the copy elsewhere"),
}

role = Role(secrets=("restic/*",), packages=("openssh-client", "restic"))


@role.deploy
def cloud_data_sync(here: Here) -> None:
    """Bring what the remote repository asks for, and the timers; or take them away where there is none."""
    here.refuse_a_second_guest("each would copy the same repository")
    if keeping.COLLECTOR not in here.guest.roles:
        raise HearthError(
            f"deploy cloud_data_sync on {here.guest.name}",
            "it copies the repository of config_backup, which is not on this guest",
            "give this guest the role config_backup too",
        )
    there = remote_of(here)
    if there is None:
        at_rest()
        return
    keeping.placed()
    if RCLONE in there.files:
        apt.installed(name="Install rclone", packages=["rclone"])
    shell.ensure(
        name="Have a folder for what the remote repository asks for",
        holds=f"[ -d {FOLDER} ]",
        command=f"install -d -o {keeping.USER} -g {keeping.USER} -m 700 {FOLDER}",
    )
    files.present(name="Tell it where the remote repository is", files=settings_files(here, there))
    keeping.rotated(here, "remote")
    timed(here)


def timed(here: Here) -> None:
    """The jobs and their timers."""
    units = {job: unit_files(here, job) for job in JOBS}
    every = [file for both in units.values() for file in both]
    files.present(name="Describe copy and check to systemd", files=every)
    for job, (what, _) in JOBS.items():
        systemd.service(name=what, unit=f"hearth-backup-{job}.timer", restart_on=units[job][1:])


def remote_of(here: Here) -> Remote | None:
    """The remote repository; None where group_data names none.

    Raises:
        HearthError: a value means nothing, or a secret is missing.
    """
    return remote({name: here.value(name) for name in VALUES}, here.secrets.get, FOLDER)


def at_rest() -> None:
    """No copy is made: cloud_data_sync_repository is None. The metrics of a copy are then missing, too."""
    timers = " ".join(f"hearth-backup-{job}.timer" for job in JOBS)
    metrics = " ".join(f"{TEXTFILES}/hearth_backup_{job}.prom" for job in JOBS)
    shell.ensure(
        name="Have no copy elsewhere: cloud_data_sync_repository is not set",
        holds=f"[ ! -e {SETTINGS} ]",
        command=f"systemctl -q disable --now {timers}; rm -rf {SETTINGS} {FOLDER} {metrics}",
    )


def settings_files(here: Here, there: Remote) -> list[File]:
    """Where it is, and what opens it."""
    found: dict[str, Any] = {
        "repository": there.repository,
        "environment": dict(there.environment),
        "options": list(there.options),
        "retention": retention("cloud_data_sync_retention", here.value("retention")),
        "check_percent": percent(here),
    }
    return [
        own("remote.json", json.dumps(found, indent=1) + "\n"),
        *(own(f"remote/{name}", content) for name, content in there.files.items()),
    ]


def percent(here: Here) -> int:
    """How much of the data the weekly check reads.

    Raises:
        HearthError: it is not from 1 to 100.
    """
    found = here.number("check_percent")
    if found > WHOLE:
        raise HearthError(
            "use cloud_data_sync_check_percent", f"it is {found}", "write a number from 1 to 100"
        )
    return found


def unit_files(here: Here, job: str) -> list[File]:
    """The service of a job and its timer."""
    seconds = here.number("hours") * 3600
    return keeping.units(
        here,
        Job(f"hearth-backup-{job}", job, JOBS[job][1], f"hearth_backup_{job}.prom", f"{job}_at", seconds),
    )

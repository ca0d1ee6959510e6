"""What the roles that keep backups share: their user, places, units, and the password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyinfra.operations import server

from hearth.backup.schedule import calendar
from hearth.ops import files, shell
from hearth.ops.files import File
from hearth.role.here import Here
from hearth.role.watched import TEXTFILES
from hearth.secrets.rotation import accepted_beside, refused_now

COLLECTOR = "config_backup"  # the role that collects the states
COPIER = "cloud_data_sync"  # the role that copies them elsewhere
USER = "hearth-keeper"
FOLDER = "/var/lib/hearth-backup"
CONFIG = "/etc/hearth/backup"
COMMAND = "/usr/local/sbin/hearth-backup"
FLEET = f"{CONFIG}/fleet"  # where the fleet's own files are kept (hearth.deploy.backup)
UNITS = "/etc/systemd/system"
PASSWORD = "restic/password"
CREATE = (
    f"id -u {USER} >/dev/null 2>&1 || useradd --system --user-group --home-dir {FOLDER} --no-create-home "
    f"--shell /usr/sbin/nologin {USER}\n"
    f"install -d -o {USER} -g {USER} -m 700 {FOLDER} {CONFIG}"
)
OTHER_FILE = f"{CONFIG}/other-password"


@dataclass(frozen=True)
class Job:
    """A job that a timer starts.

    Args:
        name: of its units, without the suffix.
        command: of the program.
        description: for systemd.
        file: the textfile of its metrics.
        at: group_data's value that says when.
        seconds: that it may take.
    """

    name: str
    command: str
    description: str
    file: str
    at: str
    seconds: int


def placed() -> None:
    """The user that backs up, and its folders."""
    shell.ensure(
        name="Create the user that backs up",
        holds=f"id -u {USER} && [ -d {FOLDER} ] && [ -d {CONFIG} ]",
        command=CREATE,
    )


def own(name: str, content: str | Callable[[], str]) -> File:
    """A file that only the user who backs up may read."""
    return File(f"{CONFIG}/{name}", content, USER, USER, "600", secret=True)


def rotated(here: Here, name: str) -> bool:
    """While the password is rotated: have a repository take the other one too, or no longer.

    Args:
        here: the guest that keeps it.
        name: "local" or "remote".

    Returns:
        True where it is being rotated.
    """
    beside = accepted_beside(here.secrets.find, PASSWORD).get(PASSWORD)
    other = beside or refused_now(here.secrets.find, PASSWORD)
    if other is None:
        return False
    files.present(
        name=f"Bring the other password of the {name} repository",
        files=[own("other-password", other.reveal() + "\n")],
    )
    option = "--accept" if beside else "--refuse"
    server.shell(
        name=f"Have the {name} repository {'accept' if beside else 'refuse'} the other password",
        commands=[
            f"{COMMAND} keys {name} {option} {OTHER_FILE}; code=$?; rm -f {OTHER_FILE}; exit $code",
        ],
    )
    return True


def units(here: Here, job: Job) -> list[File]:
    """A job's service and its timer, in this order.

    Raises:
        HearthError: a value of group_data means nothing.
    """
    values = {
        "command": f"{COMMAND} {job.command}",
        "description": job.description,
        "user": USER,
        "metrics": TEXTFILES,
        "file": job.file,
        "folder": FOLDER,
        "memory": here.value("memory"),
        "timeout": job.seconds,
        "at": calendar(f"{here.role.name}_{job.at}", here.value(job.at)),
        "delay": here.number("random_delay", 0),
    }
    return [
        here.template(f"job.{kind}.j2", f"{UNITS}/{job.name}.{kind}", values=values)
        for kind in ("service", "timer")
    ]

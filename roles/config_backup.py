"""Every guest's state, every day: fetched into a restic repository on this guest.

It logs in at the guests as a user who can read the state and do nothing else (role `state`), runs without
rights of its own, and tells the node exporter what it saved. `cloud_data_sync` copies the repository.
"""

from __future__ import annotations

import json
from typing import Any

from hearth.backup import keeping
from hearth.backup.entries import entries, programs
from hearth.backup.keeping import CONFIG, Job, own
from hearth.backup.schedule import retention
from hearth.ops import files, shell, systemd
from hearth.ops.files import File
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Need, Role
from hearth.role.here import Here
from hearth.secrets import ensure_ssh_key, password

LOGIN = "hearth-backup"  # the user at the guests, see role `state`
KEY = "backup"  # the secret ssh/backup
MODULES = ("collect", "keeper", "metrics", "restic")

role = Role(
    # Its key opens one command there. The repository itself is no state: it is what a guest comes back from.
    needs=(Need("base", "ssh"),),
    secrets=("restic/*", f"ssh/{KEY}"),
    packages=("openssh-client", "restic"),
)


@role.deploy
def config_backup(here: Here) -> None:
    """Bring program, settings and key; have the repository; run it every day."""
    here.refuse_a_second_guest("each would keep the same states under the same key")
    keeping.placed()
    files.present(name="Bring the program that backs up", files=program(here))
    files.present(name="Tell it what to back up, and how", files=settings_files(here))
    if not keeping.rotated(here, "local"):
        shell.ensure(
            name="Have the local repository",
            holds=f"[ -s {keeping.FOLDER}/repository/config ]",
            command=f"{keeping.COMMAND} keys local",
        )
    units = unit_files(here)
    files.present(name="Describe the backup to systemd", files=units)
    systemd.service(name="Back up every day", unit="hearth-backup.timer", restart_on=units[1:])


def program(here: Here) -> list[File]:
    """The program; what it shares with every guest's own is brought by role `state`."""
    command = here.template("hearth-backup.sh.j2", keeping.COMMAND, values={"user": keeping.USER}, mode="755")
    return [command, *programs(*MODULES)]


def settings_files(here: Here) -> list[File]:
    """Its settings, the key for the guests, their host keys, and the repository's password."""
    private, _ = ensure_ssh_key(here.secrets, KEY)
    return [
        File(f"{CONFIG}/settings.json", json.dumps(settings(here), indent=1) + "\n"),
        own("ssh-key", private.reveal().rstrip("\n") + "\n"),
        File(f"{CONFIG}/known_hosts", lambda: known_hosts(here)),
        own("password", here.secrets.ensure(keeping.PASSWORD, password).reveal() + "\n"),
    ]


def settings(here: Here) -> dict[str, Any]:
    """What it has to know.

    Raises:
        HearthError: a value of group_data means nothing.
    """
    return {
        "folder": keeping.FOLDER,
        "guests": guests(here),
        "user": LOGIN,
        "key": f"{CONFIG}/ssh-key",
        "known_hosts": f"{CONFIG}/known_hosts",
        "password": f"{CONFIG}/password",
        "fleet": keeping.FLEET,
        "seconds": here.number("minutes") * 60,
        "at_once": here.number("at_once"),
        "retention": retention("config_backup_retention", here.value("retention")),
    }


def guests(here: Here) -> list[dict[str, Any]]:
    """The guests whose roles keep something, and where they answer."""
    return [
        {"name": guest.name, "address": str(address)}
        for guest in here.fleet.guests
        if entries(guest, here.roles)
        for address in fixed_addresses(guest)[:1]
    ]


def known_hosts(here: Here) -> str:
    """The host keys of the guests, as this run knows them: all have been reached when this is written."""
    lines = [line for guest in guests(here) for line in here.run.known_hosts.lines(guest["address"])]
    return "".join(f"{line}\n" for line in lines)


def unit_files(here: Here) -> list[File]:
    """The service and its timer."""
    seconds = here.number("minutes") * 60 * 3
    description = "Back up every guest's state"
    return keeping.units(
        here, Job("hearth-backup", "collect", description, "hearth_backup.prom", "at", seconds)
    )

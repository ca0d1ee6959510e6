"""What a guest must not lose: a program writes its roles' state to stdout, and brings it back from stdin.

`base` brings it to every guest. Where a guest of the fleet collects the states (role `config_backup`), it may
log in here as a user who can do that one thing: read the state.
"""

from __future__ import annotations

import json

from hearth.backup.entries import entries, programs
from hearth.ops import files, shell
from hearth.ops.files import File
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Role
from hearth.role.here import Here
from hearth.secrets import ensure_ssh_key

COMMAND = "/usr/local/sbin/hearth-state"
SETTINGS = "/etc/hearth/state.json"
USER = "hearth-backup"
HOME = "/etc/hearth/backup-login"
KEYS = f"{HOME}/.ssh/authorized_keys"
SUDO = "/etc/sudoers.d/hearth-backup"
# `*`: no password is right; an account without any is locked for keys too, where sshd does not use PAM.
CREATE = (
    f"useradd --system --user-group --home-dir {HOME} --no-create-home --shell /bin/sh --password '*' {USER}"
)
KEY = "backup"  # the secret ssh/backup
COLLECTOR = "config_backup"
MODULES = ("__init__", "__main__", "stream", "copying", "save", "bring", "upgrade")

role = Role(secrets=(f"ssh/{KEY}",))


@role.deploy
def state(here: Here) -> None:
    """Bring the program and what it has to know; let the collector in, or nobody."""
    found = entries(here.guest, here.roles)
    settings = json.dumps({"guest": here.guest.name, "state": found}, indent=1) + "\n"
    files.present(
        name="Bring the program that reads and restores the state",
        files=[
            here.template("hearth-state.sh", COMMAND, mode="755"),
            *programs(*MODULES),
            File(SETTINGS, settings),
        ],
    )
    if found and here.fleet.with_role(COLLECTOR):
        let_in(here)
    else:
        shell.ensure(
            name="Let nobody collect the state",
            holds=f"[ ! -e {KEYS} ] && [ ! -e {SUDO} ]",
            command=f"rm -rf {HOME} {SUDO}",
        )


def let_in(here: Here) -> None:
    """The collector's user: one key, from its guests' addresses, and one command."""
    shell.ensure(
        name="Create the user that collects the state",
        holds=f"id -u {USER}",
        command=CREATE,
    )
    rule = f"Defaults:{USER} !use_pty\n{USER} ALL=(root) NOPASSWD: {COMMAND} dump\n"
    files.present(
        name="Let it read the state, and do nothing else",
        files=[File(SUDO, rule, mode="440")],
        check="visudo -cqf {candidate}",
    )
    files.present(name="Let its key in", files=[File(KEYS, key_line(here))])


def key_line(here: Here) -> str:
    """The line of authorized_keys, sshd(8): whatever is asked for, the dump is what runs."""
    public = ensure_ssh_key(here.secrets, KEY)[1]
    addresses = [
        str(address) for guest in here.fleet.with_role(COLLECTOR) for address in fixed_addresses(guest)
    ]
    return f'restrict,from="{",".join(addresses)}",command="sudo -n {COMMAND} dump" {public.strip()}\n'

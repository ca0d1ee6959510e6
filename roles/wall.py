"""The guest's own wall: nftables that lets in exactly the flows of this guest, whatever stands before it.

`base` brings it to every guest. The rules follow from the flows (hearth.firewall), as Proxmox's do.
"""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.firewall.flows import flows, pingers
from hearth.firewall.inside import Wall, wall_of
from hearth.firewall.settings import LEVELS, read_settings
from hearth.ops import files, nft, shell, systemd
from hearth.ops.files import File
from hearth.path import addresses_towards
from hearth.role.declaration import Role
from hearth.role.here import Here

RULES = "/etc/hearth/wall.nft"
UNIT = "/etc/systemd/system/hearth-wall.service"
DEBIANS = "/etc/systemd/system/nftables.service.d/hearth.conf"

role = Role(packages=("nftables",))


@role.deploy
def wall(here: Here) -> None:
    """Raise the wall, proven by a new login; or take it away."""
    if not enabled(here):
        nft.absent(name="Have no wall of its own", unit=UNIT, others=[RULES, DEBIANS])
        return
    files.present(name="Describe the wall to systemd", files=units(here))
    shell.ensure(
        name="Have systemd put the wall up again after Debian's own unit",
        holds=f"systemctl show -p DropInPaths --value nftables.service | grep -qF {DEBIANS} && "
        "[ $(systemctl show -p NeedDaemonReload --value nftables.service) = no ]",
        command="systemctl daemon-reload",
    )
    nft.table(
        name="Raise the wall",
        file=rules(here),
        rollback_after=here.number("rollback_after", 10),
    )
    systemd.service(name="Load the wall before the network", unit="hearth-wall.service")


def units(here: Here) -> list[File]:
    """Ours, and a drop-in for Debian's."""
    values = {"rules": RULES}
    return [
        here.template("hearth-wall.service.j2", UNIT, values=values),
        here.template("nftables.service.conf.j2", DEBIANS, values=values),
    ]


def rules(here: Here) -> File:
    """The file that makes the table."""
    values = {"wall": wall_here(here), "log": log_level(here), "log_rate": here.number("log_rate")}
    return here.template("nftables.conf.j2", RULES, values=values, mode="600")


def wall_here(here: Here) -> Wall:
    """What this guest lets in."""
    fleet = here.fleet
    settings = read_settings(here.host.data, fleet, addresses_towards(fleet))
    return wall_of(here.guest.name, flows(fleet, here.roles, settings), pingers(fleet, settings))


def enabled(here: Here) -> bool:
    """Whether guests have walls of their own.

    Raises:
        HearthError: the value is neither True nor False.
    """
    found = here.value("enabled")
    if not isinstance(found, bool):
        raise HearthError("use wall_enabled", f"it is {found!r}", "write True or False")
    return found


def log_level(here: Here) -> str | None:
    """nft's word for the level; None: nothing is logged.

    Raises:
        HearthError: there is no such level.
    """
    found = here.value("log_level")
    if found not in LEVELS:
        raise HearthError("use wall_log_level", f"it is {found!r}", f"use one of {', '.join(LEVELS)}")
    return None if found == "nolog" else {"warning": "warn"}.get(found, found)

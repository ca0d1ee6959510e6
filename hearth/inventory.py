"""From the fleet to pyinfra's hosts and groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyinfra import logger

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.values import overrides

if TYPE_CHECKING:
    from hearth.run import Run

RESERVED = frozenset(
    (
        "all",
        "inventory",
        "proxmox",
        "guests",
        "vms",
        "containers",
        "absent",
        "stopped",
        "running",
        "unmanaged",
    )
)


Host = str | tuple[str, dict[str, Any]]


def groups(run: Run) -> dict[str, list[Host]]:
    """Every group of the fleet with its hosts, as pyinfra reads them from an inventory file.

    Guests are `@guest/NAME` and nodes `@node/NAME` (their connectors make the plain names). With the API out
    of reach the groups that only it can fill stay empty, and a warning says so.

    Raises:
        HearthError: the fleet file has mistakes, or describes nothing.
    """
    fleet = run.fleet
    found: defaultdict[str, list[Host]] = defaultdict(list)
    found["proxmox"] = [f"@node/{node.name}" for node in fleet.nodes]
    values = overrides(run.environ, run.project)
    for guest in fleet.guests:
        for group in fixed_groups(guest):
            found[group].append(f"@guest/{guest.name}")
    # A host's own data wins over its groups'; `--data` wins over both.
    found["guests"] = [(f"@guest/{guest.name}", dict(values)) for guest in fleet.guests]
    for group, hosts in live_groups(run).items():
        found[group] += hosts
    if not fleet.guests:
        raise HearthError(
            "load the inventory", f"{run.fleet_file} describes no guest", "add one under guests:"
        )
    return {name: hosts for name, hosts in found.items() if hosts}


def fixed_groups(guest: Guest) -> Iterable[str]:
    """The groups that the fleet file alone gives: kind, roles, tags."""
    yield "guests"
    yield "vms" if guest.kind == "vm" else "containers"
    yield from guest.roles
    # A tag may be called like a role or a group of ours; it must not add its guests there.
    for tag in guest.tags:
        yield f"tag_{tag}" if tag in RESERVED or tag in guest.roles else tag


def live_groups(run: Run) -> dict[str, list[str]]:
    """The groups that the API gives: absent, stopped, running, and unmanaged guests."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    survey = run.survey
    for error in survey.errors:
        logger.warning(f"{error}; which guests are absent, stopped or running is not known there")
    for guest in run.fleet.guests:
        with suppress(HearthError):
            found[survey.state_of(guest)].append(f"@guest/{guest.name}")
    ours = {guest.vmid for guest in run.fleet.guests}
    for seen in (seen for view in survey.views for seen in view.guests if seen.vmid not in ours):
        found["unmanaged"].append(f"@unmanaged/{seen.vmid}-{seen.name or seen.kind}")
    return dict(found)

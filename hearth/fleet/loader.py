"""The fleet file, from the path to the model: all mistakes at once, nothing contacted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hearth.fleet import backups, guests, sections, source
from hearth.fleet.entries import FileEntry
from hearth.fleet.mistakes import EnoughError, FleetError, Mistake, Report
from hearth.fleet.model import Fleet
from hearth.role.declaration import Role

__all__ = ["FleetError", "Mistake", "load_fleet"]


def load_fleet(path: Path, roles: Mapping[str, Role]) -> Fleet:
    """Read the fleet file.

    Args:
        path: the file, e.g. inventory/fleet.yaml; YAML in UTF-8, at most 1 MiB (docs/fleet.md).
        roles: the roles there are, by name; `base`, if among them, goes first on every guest that
            is not an appliance.

    Returns:
        The fleet, defaults merged in, VMIDs and MAC addresses filled in.

    Raises:
        FleetError: the file cannot be used; holds every mistake with its line.
    """
    report = Report(str(path))
    try:
        fleet = _fleet(path, roles, report)
    except EnoughError:
        fleet = None
    if fleet is None or report.mistakes:
        raise FleetError(report.file, report.mistakes)
    return fleet


def _fleet(path: Path, roles: Mapping[str, Role], report: Report) -> Fleet | None:
    data = source.read(path, report)
    if data is None:
        return None
    top = sections.entry(FileEntry, data, (), report)
    _check_there(top, report)
    found = sections.sections(top, report)
    drafts = guests.drafts(top, found, roles, report)
    jobs = backups.drafts(found.backup, [draft.name for draft in drafts], report)
    if report.mistakes:
        return None
    return Fleet(
        nodes=sections.nodes(found),
        networks=sections.networks(found),
        images=sections.images(found),
        admin=sections.admin(found),
        tailnet=sections.tailnet(found),
        firewall=top.firewall,
        backup=backups.backup(found.backup, jobs, [draft.name for draft in drafts]),
        guests=guests.guests(drafts),
    )


def _check_there(top: FileEntry, report: Report) -> None:
    """A fleet has a node and a guest."""
    for key, there, right in (
        ("nodes", top.nodes, "write the node: nodes: {pve: {address: ..., storage: ..., images: ...}}"),
        ("guests", top.guests, "write at least one guest"),
    ):
        if not there and not report.unsure((key,)):
            report.add((key,), "is missing" if there is None else "is empty", right)

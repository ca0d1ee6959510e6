"""What a restore has to know of the fleet: which guests, which states, from where. Nothing is changed."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hearth.backup.entries import entries
from hearth.backup.keeping import COLLECTOR, COPIER, PASSWORD
from hearth.backup.onguest.restic import Repository
from hearth.backup.proof import Choice, read_date
from hearth.backup.remote import VALUES, remote
from hearth.backup.source import GuestSource, HereSource, Source
from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.role.declaration import Role
from hearth.secrets import SecretStore

SOURCES = ("local", "remote")
DAY = timedelta(days=1)


def chosen(fleet: Fleet, names: Iterable[str]) -> tuple[Guest, ...]:
    """The guests to restore: those that are named, or all.

    Raises:
        HearthError: one is no guest of the fleet.
    """
    named = set(names)
    unknown = sorted(named - {guest.name for guest in fleet.guests})
    if unknown:
        there = ", ".join(sorted(guest.name for guest in fleet.guests))
        raise HearthError("restore", f"the fleet has no guest {', '.join(unknown)}", f"it has: {there}")
    return tuple(guest for guest in fleet.guests if not named or guest.name in named)


def wanted(guests: Iterable[Guest], roles: Mapping[str, Role], fleet: Fleet) -> dict[str, list[str]]:
    """The pieces that each guest needs: guest -> names. What is derived from another guest's is left out."""
    found = {}
    for guest in guests:
        names = [entry["name"] for entry in entries(guest, roles) if _own(guest, entry["role"], fleet)]
        if names:
            found[guest.name] = names
    return found


def _own(guest: Guest, role: str, fleet: Fleet) -> bool:
    """False for a replica of the database: it has what its primary has."""
    return role != "postgresql" or fleet.with_role(role)[0].name == guest.name


def choice(data: Mapping[str, str], values: Mapping[str, Any], now: datetime | None = None) -> Choice:
    """What was asked for on the command line and in group_data.

    Raises:
        HearthError: a value means nothing.
    """
    date = data.get("date")
    accept = data.get("missing")
    if accept not in (None, "accept"):
        raise HearthError("restore", f"missing={accept} means nothing", "write --data missing=accept")
    return Choice(
        read_date(date) if date else None,
        DAY * float(values["restore_oldest_days"]),
        now or datetime.now(UTC),
        accept == "accept",
    )


def sources(
    data: Mapping[str, str],
    fleet: Fleet,
    values: Mapping[str, Any],
    store: SecretStore,
    session: Callable[[Guest], Callable[[], Any] | None],
) -> list[Source]:
    """Where the backup may come from, in the order in which they are asked.

    Args:
        data: of the command line: `from=local` or `from=remote` leaves one.
        fleet: who keeps the local repository.
        values: of group_data.
        store: the secrets.
        session: for a guest: what opens a channel of its SSH connection; None: it does not run, or goes.

    Raises:
        HearthError: there is none.
    """
    only = data.get("from")
    if only not in (None, *SOURCES):
        raise HearthError("restore", f"from={only} means nothing", "write --data from=local or from=remote")
    found: list[Source] = []
    keeper = next(iter(fleet.with_role(COLLECTOR)), None)
    if keeper is not None and only != "remote":
        channel = session(keeper)
        if channel is not None:
            found.append(GuestSource(f"the local repository on {keeper.name}", channel))
    if only != "local" and (elsewhere := remote_source(values, store)) is not None:
        found.append(elsewhere)
    if not found:
        raise HearthError(
            "restore",
            "there is nothing to restore from: the guest that keeps the local repository does not run, and "
            "no remote one is set",
            "set cloud_data_sync_repository in group_data/cloud_data_sync.py",
        )
    return found


def remote_source(values: Mapping[str, Any], store: SecretStore) -> Source | None:
    """The remote repository, read from this machine; None where none is set.

    Raises:
        HearthError: a value means nothing, or a secret is missing.
    """
    given = {name: values.get(f"{COPIER}_{name}") for name in VALUES}
    if given["repository"] is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="hearth-restore-"))
    there = remote(given, store.get, str(folder))
    assert there is not None
    for name, content in {**there.files, "password": store.get(PASSWORD).reveal() + "\n"}.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(content)
    repository = Repository(
        there.repository, folder / "password", there.environment, there.options, folder / "cache"
    )
    return RemoteSource(repository, folder)


class RemoteSource(HereSource):
    """A repository that is read from this machine, with a private folder for what it asks for.

    Args:
        repository: what it reads.
        folder: goes when the process ends.
    """

    def __init__(self, repository: Repository, folder: Path) -> None:
        super().__init__("the remote repository", "remote", repository)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)

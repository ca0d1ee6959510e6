"""A proven backup brought near: where the twin is, nobody reaches the place that it is in.

`restic copy` reads the remote repository and writes a folder of this machine. With `--no-lock` nothing is
written to the former, not even a lock (restic's documentation, "Copying snapshots between repositories").
"""

from __future__ import annotations

from pathlib import Path

from hearth.backup.onguest.restic import Repository, ResticError
from hearth.backup.proof import Snapshot
from hearth.errors import HearthError


def copied(snapshot: Snapshot, repository: Repository, folder: Path) -> Repository:
    """Copy one snapshot into a new repository that opens with the same password.

    Args:
        snapshot: of the remote repository.
        repository: that repository.
        folder: where the copy will be; nothing is there yet.

    Raises:
        HearthError: it could not be read, or there is no room for it.
    """
    near = Repository(
        str(folder), repository.password_file, repository.environment, repository.options, repository.cache
    )
    source = {
        "RESTIC_FROM_REPOSITORY": repository.where,
        "RESTIC_FROM_PASSWORD_FILE": str(repository.password_file),
    }
    try:
        near.run("init")
        near.run("copy", "--no-lock", snapshot.ident, more=source)
        kept = near.snapshots()
    except ResticError as error:
        raise HearthError(
            f"copy {snapshot}", str(error), "see that it can be read and there is room"
        ) from None
    if len(kept) != 1:
        raise HearthError(f"copy {snapshot}", f"{len(kept)} snapshots have arrived")
    return near

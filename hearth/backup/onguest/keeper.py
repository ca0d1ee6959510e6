"""`hearth-backup collect`: all guests' states into the local repository. `copy`: that to the remote one.

`check` reads a part of the remote one; `keys REPOSITORY [--accept FILE] [--refuse FILE]` has a repository and
the passwords that open it; `restic REPOSITORY ...` is restic itself. REPOSITORY is `local` or `remote`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .__main__ import alone
from .collect import Result, Way, collect
from .metrics import Sample, kept, publish, seconds
from .restic import HOST, Repository, ResticError, keeping

SETTINGS = Path("/etc/hearth/backup/settings.json")
REMOTE = Path("/etc/hearth/backup/remote.json")
LOCAL_FILE, REMOTE_FILE, CHECK_FILE = (
    "hearth_backup.prom",
    "hearth_backup_copy.prom",
    "hearth_backup_check.prom",
)


class Keeper:
    """What is kept on this guest.

    Args:
        settings: of the file SETTINGS.
        remote: of the file REMOTE; None: there is no remote repository.
    """

    def __init__(self, settings: Mapping[str, Any], remote: Mapping[str, Any] | None = None) -> None:
        self.settings = settings
        self.folder = Path(settings["folder"])
        self.metrics = self.folder / "metrics"
        self._remote = remote

    @property
    def local(self) -> Repository:
        """The repository on this guest."""
        return Repository(
            str(self.folder / "repository"), Path(self.settings["password"]), cache=self.folder / "cache"
        )

    @property
    def remote(self) -> Repository:
        """The one elsewhere. Raises ResticError where there is none."""
        if self._remote is None:
            raise ResticError("there is no remote repository (role cloud_data_sync brings one)")
        return Repository(
            self._remote["repository"],
            Path(self.settings["password"]),
            self._remote.get("environment", {}),
            tuple(self._remote.get("options", ())),
            self.folder / "cache",
        )

    def repository(self, name: str) -> Repository:
        """`local` or `remote`."""
        return self.local if name == "local" else self.remote

    def present(self, name: str) -> None:
        """Have a repository; a new one is cut as the other one is, so that nothing has to be copied twice.

        Raises:
            ResticError: it can neither be opened nor made.
        """
        one = self.repository(name)
        other = self.local if name == "remote" else self.remote if self._remote is not None else None
        if one.made or other is None or not other.opens():
            one.present()
        else:
            one.present("--copy-chunker-params", more=_from(other))

    # ------------------------------------------------------------------ collect

    def collect(self) -> list[str]:
        """Save every guest's state; what went wrong."""
        current = self.folder / "current"
        results = collect(
            self.settings["guests"],
            Way(
                self.settings["user"],
                Path(self.settings["key"]),
                Path(self.settings["known_hosts"]),
                self.settings["seconds"],
            ),
            current / "guests",
            self.settings["at_once"],
        )
        problems = [
            f"{result.guest}{': ' + piece if piece else ''}: {error}"
            for result in results
            for piece, error in result.errors.items()
        ]
        problems += self._stored(current)
        self._tell(results, not problems)
        return problems

    def _stored(self, current: Path) -> list[str]:
        """A snapshot of the folder and of the fleet's own files; what went wrong."""
        try:
            self.present("local")
            self.local.unlock()
            fleet = [path for path in [Path(self.settings["fleet"])] if path.is_dir()]
            self.local.run(
                "backup", "--quiet", f"--host={HOST}", "--tag=state", str(current), *map(str, fleet)
            )
            forget(self.local, self.settings["retention"])
        except ResticError as error:
            return [f"the repository: {error}"]
        return []

    def _tell(self, results: list[Result], well: bool) -> None:
        samples: list[Sample] = [
            ("guest_ok", {"guest": result.guest}, 0 if result.errors else 1) for result in results
        ]
        for result in results:
            for piece in result.manifest.pieces if result.manifest else ():
                labels = {"guest": result.guest, "role": piece.role, "state": piece.name}
                if piece.kept:
                    samples.append(("state_timestamp_seconds", labels, seconds(piece.made)))
                    samples.append(("state_bytes", labels, piece.size))
        self._publish(LOCAL_FILE, "collect", well, samples + stored(self.local, "local"))

    # ------------------------------------------------------------------- remote

    def copy(self) -> list[str]:
        """Bring the remote repository what the local one has; what went wrong."""
        assert self._remote is not None
        problems = []
        try:
            self._copied()
            forget(self.remote, self._remote["retention"])
        except ResticError as error:
            problems = [f"the remote repository: {error}"]
        self._publish(REMOTE_FILE, "copy", not problems, stored(self.remote, "remote"))
        return problems

    def _copied(self) -> None:
        self.present("remote")
        self.remote.unlock()
        self.remote.run("copy", f"--host={HOST}", more=_from(self.local))

    def check(self) -> list[str]:
        """Check the remote repository, and read a part of its data; what went wrong."""
        assert self._remote is not None
        problems = []
        try:
            self.remote.run("check", f"--read-data-subset={self._remote['check_percent']}%")
        except ResticError as error:
            problems = [f"the remote repository is damaged, or cannot be read: {error}"]
        self._publish(CHECK_FILE, "check", not problems, [])
        return problems

    def _publish(self, file: str, job: str, well: bool, samples: list[Sample]) -> None:
        path, labels, now = self.metrics / file, {"job": job}, time.time()
        last = now if well else kept(path, "success_timestamp_seconds", labels)
        samples = [("run_timestamp_seconds", labels, now), ("ok", labels, int(well)), *samples]
        if last is not None:
            samples.append(("success_timestamp_seconds", labels, last))
        publish(path, samples)


def forget(repository: Repository, retention: Mapping[str, int]) -> None:
    """Remove snapshots that are no longer to be kept, and what only they held."""
    repository.run("forget", "--quiet", f"--host={HOST}", "--group-by=host", "--prune", *keeping(retention))


def stored(repository: Repository, name: str) -> list[Sample]:
    """How much a repository holds, as far as it can be asked."""
    labels = {"repository": name}
    try:
        snapshots = repository.snapshots()
        samples: list[Sample] = [
            ("snapshots", labels, len(snapshots)),
            ("repository_bytes", labels, repository.bytes()),
        ]
    except (ResticError, ValueError):
        return []
    if snapshots:
        samples.append(("snapshot_timestamp_seconds", labels, seconds(snapshots[-1]["time"])))
    return samples


def _from(repository: Repository) -> dict[str, str]:
    """The environment that names another repository, of which something is taken."""
    return {
        "RESTIC_FROM_REPOSITORY": repository.where,
        "RESTIC_FROM_PASSWORD_FILE": str(repository.password_file),
    }


def keys(keeper: Keeper, name: str, accept: Path | None = None, refuse: Path | None = None) -> list[str]:
    """Have a repository, another password accepted, an old one refused; what went wrong."""
    try:
        repository = keeper.repository(name)
        keeper.present(name)
        if accept:
            repository.accept(accept)
        if refuse:
            repository.refuse(refuse)
    except ResticError as error:
        return [str(error)]
    return []


def main(arguments: list[str]) -> int:
    """Run a command; its exit code."""
    found = json.loads(SETTINGS.read_text())
    keeper = Keeper(found, json.loads(REMOTE.read_text()) if REMOTE.exists() else None)
    command, *words = arguments or ["?"]
    try:
        if command == "restic" and words:
            repository = keeper.repository(words[0])
            os.execvpe("restic", [*repository.command, *words[1:]], repository.variables())
        if command == "keys" and words:
            options = dict(zip(words[1::2], map(Path, words[2::2]), strict=True))
            return told(keys(keeper, words[0], options.get("--accept"), options.get("--refuse")))
        if command in ("collect", "copy", "check"):
            with alone(keeper.folder / "lock", waits=True):  # a copy never meets a backup under way
                return told(getattr(keeper, command)())
    except (ResticError, OSError, ValueError) as error:
        return told([str(error)])
    print(
        "usage: hearth-backup collect | copy | check | keys REPOSITORY | restic REPOSITORY ...",
        file=sys.stderr,
    )
    return 2


def told(problems: list[str]) -> int:
    """Say what went wrong; the exit code."""
    for problem in problems:
        print(f"cannot back up: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

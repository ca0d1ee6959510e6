"""restic, as it is called here: one repository, its password in a file, its answers as JSON.

https://restic.readthedocs.io; Debian 12 has 0.14, whose exit codes tell little: what happened is read from
what is there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "hearth"  # what snapshots are filed under, whatever guest makes them
LAST_WORDS = 800


class ResticError(Exception):
    """restic failed; the text has its last words."""


@dataclass(frozen=True)
class Repository:
    """A repository.

    Args:
        where: as restic's `--repo` has it.
        password_file: the file with its password.
        environment: what its backend needs to know (restic's documentation, "Preparing a new repository").
        options: before every command: `-o sftp.command=...`, `--limit-upload=...`.
        cache: where restic keeps its cache.
    """

    where: str
    password_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    cache: Path | None = None

    def run(
        self, *words: str, password_file: Path | None = None, more: Mapping[str, str] | None = None
    ) -> str:
        """Call restic; what it wrote to stdout.

        Raises:
            ResticError: it failed.
        """
        done = subprocess.run(
            [*self.command, *words],
            env=self.variables(password_file) | dict(more or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise ResticError(last_words(done.stderr) or f"restic {words[0]} ended with {done.returncode}")
        return done.stdout

    @property
    def command(self) -> list[str]:
        """The program and its options."""
        return ["restic", *self.options]

    def variables(self, password_file: Path | None = None) -> dict[str, str]:
        """The environment: nothing of it shows in a list of processes."""
        found = {key: value for key, value in os.environ.items() if not key.startswith("RESTIC_")}
        found |= {"RESTIC_REPOSITORY": self.where, "LC_ALL": "C.UTF-8", **self.environment}
        found["RESTIC_PASSWORD_FILE"] = str(password_file or self.password_file)
        if self.cache:
            found["RESTIC_CACHE_DIR"] = str(self.cache)
        return found

    def opens(self, password_file: Path | None = None) -> bool:
        """True where the repository is there, can be reached, and takes this password."""
        try:
            self.run("cat", "config", password_file=password_file)
        except ResticError:
            return False
        return True

    @property
    def folder(self) -> Path | None:
        """Its folder, where it is on this machine."""
        return Path(self.where) if self.where.startswith("/") else None

    @property
    def made(self) -> bool:
        """True where it is on this machine, and there."""
        return self.folder is not None and (self.folder / "config").exists()

    def present(self, *words: str, more: Mapping[str, str] | None = None) -> bool:
        """Have the repository; True where it was made now.

        restic itself refuses to make one where there is one, whatever its password.

        Raises:
            ResticError: it can neither be opened nor made.
        """
        if self.made:
            return False  # what comes next says whether it opens
        try:
            self.run("cat", "config")
            return False
        except ResticError as problem:
            try:
                self.run("init", *words, more=more)
            except ResticError as error:
                raise ResticError(f"it cannot be opened ({problem}), nor made ({error})") from None
        return True

    def snapshots(self) -> list[dict[str, Any]]:
        """The snapshots of ours, oldest first."""
        found = json.loads(self.run("snapshots", "--json", "--no-lock", f"--host={HOST}") or "[]") or []
        return sorted(found, key=lambda snapshot: snapshot["time"])

    def bytes(self) -> int:
        """The size of all that is stored."""
        if self.folder:
            return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return int(json.loads(self.run("stats", "--json", "--no-lock", "--mode=raw-data"))["total_size"])

    def unlock(self) -> None:
        """Remove the locks of processes that are gone. Raises ResticError."""
        if not self.folder or any((self.folder / "locks").iterdir()):
            self.run("unlock")

    def own_key(self, password_file: Path) -> str | None:
        """The id of the key that a password opens; None where it opens none."""
        if not self.opens(password_file):
            return None
        rows = json.loads(self.run("key", "list", "--json", "--no-lock", password_file=password_file))
        return next((str(row["id"]) for row in rows if row["current"]), None)

    def accept(self, beside: Path) -> bool:
        """Have another password accepted too; True where it was not before. Raises ResticError."""
        if self.opens(beside):
            return False
        self.run("key", "add", f"--new-password-file={beside}")
        return True

    def refuse(self, old: Path) -> bool:
        """Have an old password refused; True where it was not. Raises ResticError.

        Every key that it opens is removed: one that was killed while it added may have left two.
        """
        removed = False
        while (found := self.own_key(old)) is not None:
            if found == self.own_key(self.password_file):
                raise ResticError("the old password and the new one open the same key")
            self.run("key", "remove", found)
            removed = True
        return removed


def keeping(retention: Mapping[str, int]) -> list[str]:
    """restic's options for a retention: {"daily": 7} is `--keep-daily=7`."""
    return [f"--keep-{name}={count}" for name, count in sorted(retention.items())]


def last_words(said: str | Sequence[str]) -> str:
    """The end of what a program said, in one line."""
    text = said if isinstance(said, str) else "\n".join(said)
    return " ".join(text.split())[-LAST_WORDS:]

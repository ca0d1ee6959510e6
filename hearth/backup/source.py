"""Where a backup is read from: restic here, or restic on the guest that keeps the local repository."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from hearth.backup.keeping import COMMAND
from hearth.backup.onguest.restic import Repository, ResticError, last_words

LONGEST = 64 * 1024 * 1024  # bytes of an answer that is no piece


class Source(Protocol):
    """A repository that can be read.

    `name` is what the admin calls it: "the local repository on data"; `key` what stands behind `from=`.
    """

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...

    def read(self, *words: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """What a restic command writes to stdout. Raises ResticError at its end where the command failed."""
        ...


def answer(source: Source, *words: str) -> bytes:
    """The whole answer of a restic command. Raises ResticError."""
    with source.read(*words) as stream:
        return stream.read(LONGEST)


class HereSource:
    """restic on this machine.

    Args:
        name: for the admin.
        key: "local" or "remote".
        repository: what it reads.
    """

    def __init__(self, name: str, key: str, repository: Repository) -> None:
        self.name, self.key = name, key
        self.repository = repository

    @contextlib.contextmanager
    def read(self, *words: str) -> Iterator[BinaryIO]:
        """See Source."""
        command = [*self.repository.command, *words]
        try:
            process = subprocess.Popen(
                command,
                env=self.repository.variables(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            raise ResticError("restic is not installed on this machine (apt install restic)") from None
        with process:
            assert process.stdout is not None and process.stderr is not None
            # restic's last words fit into the pipe; without a terminal it tells of no progress.
            yield cast(BinaryIO, process.stdout)
            process.stdout.read()
            said = process.stderr.read().decode(errors="replace")
            if process.wait():
                raise ResticError(last_words(said) or f"restic ended with {process.returncode}")


class GuestSource:
    """restic on the guest that keeps the local repository, over the run's SSH connection.

    Args:
        name: for the admin.
        session: opens a channel of paramiko.
    """

    def __init__(self, name: str, session: Callable[[], Any]) -> None:
        self.name, self.key = name, "local"
        self._session = session

    @contextlib.contextmanager
    def read(self, *words: str) -> Iterator[BinaryIO]:
        """See Source."""
        channel = self._session()
        try:
            channel.exec_command(shlex.join([COMMAND, "restic", "local", *words]))
            stream = channel.makefile("rb", -1)
            yield cast(BinaryIO, stream)
            while stream.read(1 << 20):
                pass
            said = channel.makefile_stderr("rb", -1).read().decode(errors="replace")
            code = channel.recv_exit_status()
            if code:
                raise ResticError(last_words(said) or f"restic ended with {code}")
        finally:
            channel.close()

"""Files that are either the old ones or the new ones, never half of both, and never seen on the way."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import PurePosixPath

from pyinfra import logger
from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state
from pyinfra.facts.files import FileContents

from hearth.ops.facts import FileState, FileStates
from hearth.ops.noted import Lack, fields, note
from hearth.secrets import MissingSecretError

STAGES = "/run/hearth/stage"  # tmpfs: secrets on the way never reach a disk


@dataclass(frozen=True)
class File:
    """A file as it should be.

    Args:
        path: absolute path on the guest; a symbolic link is followed.
        content: the whole text, or what gives it; never shown by repr(). A function is called again at
            execution: it may use secrets that an earlier operation of the same run brings.
        user: owner.
        group: group.
        mode: octal digits, e.g. "640".
        secret: its content shows in no diff.
    """

    path: str
    content: str | Callable[[], str] = field(repr=False)
    user: str = "root"
    group: str = "root"
    mode: str = "644"
    secret: bool = False

    @property
    def text(self) -> str:
        """The whole text as of now.

        Raises:
            MissingSecretError: it needs a secret that does not exist yet.
        """
        return self.content if isinstance(self.content, str) else self.content()

    @property
    def wanted(self) -> FileState:
        """The state that the guest should report. Raises MissingSecretError as `text` does."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return FileState(self.user, self.group, self.mode.lstrip("0") or "0", digest)


def differing(files: Sequence[File]) -> list[File]:
    """The files that the current host does not have exactly so (content, owner, group, mode).

    One whose secret does not exist yet differs: an operation before it will bring it.
    """
    return [file for file, there in _there(files) if there != _wanted(file)]


def _there(files: Sequence[File]) -> list[tuple[File, FileState | None]]:
    states = host.get_fact(FileStates, paths=[file.path for file in files])
    found = [*states, *([None] * (len(files) - len(states)))]
    return list(zip(files, found, strict=True))


def lacks(files: Sequence[File], kind: str = "file") -> list[Lack]:
    """What of these files is otherwise on the current host, field by field; never their content.

    Args:
        files: as they should be.
        kind: of what they are part.
    """
    found = []
    for file, there in _there(files):
        if there is None:
            found.append(Lack(kind, file.path, "file", "missing", "there"))
        elif (wanted := _wanted(file)) is not None:
            found += fields(kind, file.path, _fields(there), _fields(wanted), hidden=("content",))
    return found


def _fields(state: FileState) -> dict[str, str]:
    known = {"content": state.sha256, "owner": state.user, "group": state.group, "mode": state.mode}
    # Of a file whose secret does not exist yet only the content is known to differ.
    return known if state.user else {"content": ""}


def _wanted(file: File) -> FileState | None:
    try:
        return file.wanted
    except MissingSecretError:
        return FileState("", "", "", "")  # like no file there is


@operation()
def present(files: Sequence[File], check: str | None = None) -> Generator[PyinfraCommand, None, None]:
    """
    Put files in place, all of them only after the program that reads them has accepted them.

    + files: the files; those that belong together go in one call
    + check: shell command that exits non-zero when the candidates are no good; what it prints is shown

    The candidates are uploaded below a root-only folder in memory. ``check`` may use ``{stage}``, under which
    every candidate has its own full path, and ``{candidate}``, the first one. When it refuses, the operation
    fails and the old files stay. Otherwise each file that differs is renamed into place with its owner and
    mode already set. With a check all candidates are uploaded, also those that do not differ.

    **Example:**

    .. code:: python

        files.present(
            name="Let the admin use sudo",
            files=[File("/etc/sudoers.d/hearth", "admin ALL=(ALL:ALL) NOPASSWD: ALL\\n", mode="440")],
            check="visudo -cf {candidate}",
        )
    """
    changed = differing(files)
    if not changed:
        host.noop(f"{', '.join(file.path for file in files)}: as wanted")
        return
    note(lacks(changed))
    try:
        if state.config.DIFF:
            for file in changed:
                _show(file)
        yield from _placed(files, changed, check)
    except MissingSecretError as error:
        # While planning this is a change like any other; only here can it fail for this guest alone.
        yield StringCommand(f"echo {shlex.quote(str(error))} >&2; exit 1")


def _placed(
    files: Sequence[File], changed: Sequence[File], check: str | None
) -> Generator[PyinfraCommand, None, None]:
    stage = stage_of(files)
    texts = {stage + file.path: file.text for file in (files if check else changed)}
    folders = " ".join(sorted({shlex.quote(str(PurePosixPath(path).parent)) for path in texts}))
    yield StringCommand(f"umask 077 && rm -rf {stage} && mkdir -p {folders}")
    for path, text in texts.items():
        yield FileUploadCommand(StringIO(text), path)
    yield StringCommand(placing(stage, changed, check, files[0].path))


def stage_of(files: Sequence[File]) -> str:
    """The folder in which these files' candidates wait: the same for the same paths."""
    return f"{STAGES}/{hashlib.sha256(chr(0).join(file.path for file in files).encode()).hexdigest()[:16]}"


def placing(stage: str, changed: Sequence[File], check: str | None, first: str) -> str:
    """The shell script that checks the candidates and moves them into place; it always removes the stage."""
    lines = ["set -eu", "umask 077", f"trap 'rm -rf {stage}' EXIT"]
    if check:
        asked = check.replace("{stage}", stage).replace("{candidate}", shlex.quote(stage + first))
        kept = shlex.quote(f"refused: {', '.join(file.path for file in changed)} kept as it was")
        lines.append(f"( {asked} ) || {{ echo {kept} >&2; exit 1; }}")
    for file in changed:
        lines += _moves(stage, file)
    return "\n".join(lines)


def _moves(stage: str, file: File) -> list[str]:
    return [
        f"( umask 022; mkdir -p {shlex.quote(str(PurePosixPath(file.path).parent))} )",
        f"target=$(readlink -f {shlex.quote(file.path)})",
        'new="${target%/*}/.${target##*/}.hearth"',  # a dot and a strange ending: no include pattern takes it
        f"install -o {shlex.quote(file.user)} -g {shlex.quote(file.group)} -m {shlex.quote(file.mode)} "
        f'{shlex.quote(stage + file.path)} "$new"',
        'mv -fT "$new" "$target"',
    ]


def _show(file: File) -> None:
    if file.secret:
        host.log(f"Will write {file.path} (content not shown)", logger.info)
        return
    old = host.get_fact(FileContents, path=file.path) or []
    host.log(f"Will write {file.path}", logger.info)
    for line in difflib.unified_diff(old, file.text.splitlines(), "now", "wanted", lineterm=""):
        logger.info("  %s", line)


@operation()
def block(
    path: str, lines: Sequence[str], marker: str = "hearth", only_if_present: bool = False
) -> Generator[PyinfraCommand, None, None]:
    """
    Keep a marked block at the top of a file that others write too; nothing else in it is touched.

    + path: the file; its owner and mode stay
    + lines: the block
    + marker: names the block in the two comment lines around it
    + only_if_present: do nothing where the file does not exist

    **Example:**

    .. code:: python

        files.block(name="Know the fleet by name", path="/etc/hosts", lines=["192.168.1.135 comms"])
    """
    old = host.get_fact(FileContents, path=path)
    if old is None and only_if_present:
        host.noop(f"{path} does not exist")
        return
    states: list[FileState | None] = host.get_fact(FileStates, paths=[path])
    now = states[0] if states else None
    content = "\n".join(with_block(old or [], lines, marker)) + "\n"
    owner = (now.user, now.group, now.mode) if now else ("root", "root", "644")
    yield from present._inner([File(path, content, *owner)])


def with_block(old: Sequence[str], lines: Sequence[str], marker: str) -> list[str]:
    """A file's lines with the block at the top, and no older version of it."""
    begin, end = f"# {marker}: begin", f"# {marker}: end"
    rest = list(old)
    while begin in rest:
        start = rest.index(begin)
        # Without its end line somebody has damaged the block: then only the marker is surely ours.
        stop = rest.index(end, start) if end in rest[start:] else start
        del rest[start : stop + 1]
    return [begin, *lines, end, *rest]

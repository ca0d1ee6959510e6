"""Send a role's state from a proven backup to its guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, cast

from hearth.backup.onguest.restic import ResticError, last_words
from hearth.backup.onguest.stream import Writer
from hearth.backup.proof import Proven
from hearth.errors import HearthError


def send(proven: Proven, guest: str, role: str, session: Callable[[], Any], command: str) -> str:
    """Send all pieces of a role; what the guest said.

    The stream gets its end only when every piece was what its manifest says: the guest takes it whole or not.

    Args:
        proven: the backup.
        guest: whose state.
        role: the role.
        session: opens a channel of paramiko to the guest that gets it.
        command: what reads the stream there.

    Raises:
        ResticError: the backup cannot be read any more. Nothing was changed on the guest.
        HearthError: the guest refused it.
    """
    channel = session()
    writer = None
    try:
        channel.exec_command(command)
        out = cast(BinaryIO, channel.makefile("wb", -1))
        writer = Writer(out, guest)
        for piece in proven.pieces(guest, role):
            with proven.snapshot.source.read(
                "dump", "--no-lock", proven.snapshot.ident, proven.path(guest, piece)
            ) as content:
                sent = writer.add(piece, content)
            if (sent.size, sent.sha256) != (piece.size, piece.sha256):
                raise ResticError(f"{guest}/{piece.name} is not what it was a moment ago")
            writer.note(piece)
        writer.end()
        out.flush()
        channel.shutdown_write()
        said = channel.makefile("rb", -1).read().decode(errors="replace")
        errors = channel.makefile_stderr("rb", -1).read().decode(errors="replace")
        if channel.recv_exit_status():
            raise HearthError(f"restore {role} on {guest}", last_words(errors) or "the guest refused it")
        return str(said)
    except OSError as error:
        errors = channel.makefile_stderr("rb", -1).read().decode(errors="replace")
        raise HearthError(f"restore {role} on {guest}", last_words(errors) or str(error)) from error
    finally:
        if writer is not None:
            writer.drop()
        channel.close()

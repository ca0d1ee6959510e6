"""Settings of the SSH server that cannot lock us out."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from hearth.ops import proven
from hearth.ops.files import File


@operation()
def settings(file: File, rollback_after: int = 60) -> Generator[PyinfraCommand, None, None]:
    """
    Put a drop-in of sshd_config in place, and take it back by itself unless a new login proves it.

    + file: the drop-in; the first value of a keyword wins in sshd_config(5), so it is named to be read first
    + rollback_after: seconds after which the guest restores what was there

    ``sshd -t`` must accept the whole configuration, else the old file stays. The rest: hearth.ops.proven.

    **Example:**

    .. code:: python

        ssh.settings(name="Harden SSH", file=File("/etc/ssh/sshd_config.d/00-hearth.conf", text, mode="600"))
    """
    yield from proven.change(risky(file), rollback_after)


def risky(file: File) -> proven.Risky:
    """How sshd makes use of a drop-in."""
    return proven.Risky(
        name="sshd",
        what="settings of sshd",
        file=file,
        check="mkdir -p /run/sshd && /usr/sbin/sshd -t",
        apply="systemctl try-reload-or-restart ssh.service",
        # While a guest starts, sshd waits for the rollback: the rollback must not wait for sshd.
        restore="systemctl --no-block try-reload-or-restart ssh.service",
    )

"""What a guest that does not exist yet answers while its plan is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pyinfra.api.exceptions import MissingCommandError
from pyinfra.connectors.util import CommandOutput, OutputLine

from hearth.memory import text_of

if TYPE_CHECKING:
    from pyinfra.api import StringCommand

# What `command -v` finds on a fresh Debian 12 with systemd and OpenSSH. Operations ask which service manager
# and which package manager there is, and a dozen of them break without an answer.
FRESH_DEBIAN: Final = frozenset(
    (
        *("apt-get", "dpkg", "systemctl", "service", "journalctl", "timedatectl", "hostnamectl", "sysctl"),
        *("useradd", "usermod", "userdel", "groupadd", "groupmod", "passwd", "chpasswd", "getent", "id"),
        *("install", "tar", "gzip", "stat", "find", "sed", "awk", "grep", "mount", "umount", "ip", "ss"),
        *("sha1sum", "sha256sum", "sha384sum", "md5sum", "sshd"),
    )
)
_WHICH = re.compile(r"^command -v '?([\w.+-]+)'? \|\| true$")


def as_fresh_debian(command: str | StringCommand) -> tuple[bool, CommandOutput]:
    """What a machine fresh from the image answers to the few questions that operations cannot do without.

    Raises:
        MissingCommandError: for all else; pyinfra then takes the fact's own default, an empty machine's.
    """
    text = text_of(command).strip()
    if text == "uname -s":
        return True, CommandOutput([OutputLine("stdout", "Linux")])
    which = _WHICH.match(text)
    if which:
        found = which.group(1) in FRESH_DEBIAN
        return True, CommandOutput([OutputLine("stdout", f"/usr/bin/{which.group(1)}")] if found else [])
    raise MissingCommandError(text)

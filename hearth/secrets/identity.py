"""The file of the age identity: the private key that opens the secrets file.

It has the form that `age-keygen` writes: comments and `AGE-SECRET-KEY-1...` lines.
"""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.secrets.age import generate_identity, is_identity, recipient_of
from hearth.secrets.value import Secret

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_identities(path: Path) -> tuple[Secret, ...]:
    """Read the identities of a file.

    Args:
        path: the identity file.

    Returns:
        At least one identity.

    Raises:
        HearthError: it is missing, unreadable, open to other users, or holds no identity.
    """
    action = f"read the age identity {path}"
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        remedy = "copy your identity there, or name its file in HEARTH_AGE_KEY_FILE"
        raise HearthError(action, "there is no such file", remedy) from None
    except OSError as error:
        raise HearthError(
            action, error.strerror or "it cannot be read", "it must be a file you can read"
        ) from None
    except UnicodeDecodeError:  # its message would quote the file
        raise HearthError(action, "it is not text", "age-keygen writes such a file") from None
    if mode & OTHERS:
        raise HearthError(action, "other users of this machine can open it", f"chmod 600 {path}")
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or not all(is_identity(key) for key in keys):
        remedy = "a line AGE-SECRET-KEY-1... is expected, as age-keygen writes it"
        raise HearthError(action, "it holds no age identity", remedy)
    return tuple(Secret(key) for key in keys)


def write_identity(path: Path, now: datetime) -> Secret:
    """Generate an identity and write it, 0600 in a directory that is made 0700.

    Args:
        path: the identity file, absent so far.
        now: the time to note in it, UTC.

    Returns:
        The new identity.

    Raises:
        HearthError: it cannot be written.
    """
    identity = generate_identity()
    text = (
        f"# created: {now:%Y-%m-%dT%H:%M:%SZ}\n# public key: {recipient_of(identity)}\n{identity.reveal()}\n"
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, text.encode("ascii"))
    except OSError as error:
        action = f"write a new age identity to {path}"
        raise HearthError(action, error.strerror or "", "name another place in HEARTH_AGE_KEY_FILE") from None
    return identity

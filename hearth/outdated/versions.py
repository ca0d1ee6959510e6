"""Versions in the ways in which they are written, and which of them is newer: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

# 20260923-2610: a dated folder of Debian's; 12.12-1: a Debian package; v1.2.3: a Git tag.
_NUMBERS = re.compile(r"v?(\d+(?:[.-]\d+)*)")


def parsed(text: str) -> Version | None:
    """A version to compare; None where it is none, or not meant for everybody (beta, rc, dev)."""
    found = text.strip().removeprefix("v")
    if _NUMBERS.fullmatch(found):
        return Version(found.replace("-", "."))
    try:
        version = Version(found)
    except InvalidVersion:
        return None
    return None if version.is_prerelease else version


def newest(offered: Iterable[str], like: str = "") -> str | None:
    """The newest of some versions; None where none can be compared.

    Args:
        offered: as their source writes them.
        like: only versions whose first number is that of this one; empty: any.
    """
    wanted = parsed(like) if like else None
    found = [(version, text) for text in offered if (version := parsed(text)) is not None]
    if wanted is not None:
        found = [(version, text) for version, text in found if version.major == wanted.major]
    return max(found)[1].removeprefix("v") if found else None


def is_newer(offered: str, pinned: str) -> bool:
    """Whether what is offered is newer than what is pinned; False where they cannot be compared."""
    new, old = parsed(offered), parsed(pinned)
    return new is not None and old is not None and new > old

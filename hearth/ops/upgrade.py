"""What a change of release is for people: an upgrade, a way back, another build; and which one is refused.

What a newer version has made of its data, no older one is promised to read. So an older one takes a word of
the admin: `--data downgrade=NAME`.
"""

from __future__ import annotations

import re
from typing import Any

from hearth.errors import HearthError
from hearth.outdated.versions import is_newer

ALLOWED = "downgrade"  # of `--data`
KEPT_DAYS = 14
# `LABEL-DIGEST`, see hearth.ops.release.ident_of.
_IDENT = re.compile(r"(?:(?P<label>.*)-)?[0-9a-f]{12}")
_DOTTED = re.compile(r"(?<![0-9A-Za-z.])v?(\d+(?:\.\d+)+)")
_PLAIN = re.compile(r"v?(\d{1,8})")


def version_of(ident: str) -> str:
    """The version in the name of a release; empty where it has none (a folder, a commit, a bare digest)."""
    match = _IDENT.fullmatch(ident)
    label = (match["label"] if match else ident) or ""
    found = _DOTTED.search(label) or _PLAIN.fullmatch(label)
    return found[1] if found else ""


def is_older(ident: str, proven: str) -> bool:
    """Whether a release is of an older version than the one that proved itself; False where nobody knows."""
    return is_newer(version_of(proven), version_of(ident))


def described(proven: str, ident: str, keeps: bool, failed: str = "") -> str:
    """What becomes of a program, for the plan; nothing where it stays as it is, or is new.

    Args:
        proven: the release that last passed its health check; empty: none.
        ident: the one that is wanted.
        keeps: its role has data, which are kept first.
        failed: the release that failed last, and when, with a space between them; empty: none.
    """
    if not proven or proven == ident:
        return ""
    old, new = version_of(proven), version_of(ident)
    what = f"upgrade {old or proven} -> {new or ident}"
    if is_older(ident, proven):
        what = f"downgrade {old} -> {new}"
    elif old and old == new:
        what = f"another build of {old}"
    release, _, when = failed.partition(" ")
    again = f" (it failed at {when} and is tried again)" if release == ident else ""
    return f"{what}{', its data are kept first' if keeps else ''}{again}"


def refusal(app: str, guest: str, proven: str, ident: str, data: Any) -> str:
    """Why this release is not taken; nothing where it is.

    Args:
        app: the program.
        guest: where.
        proven: the release that last passed its health check; empty: none.
        ident: the one that is wanted.
        data: pyinfra's `host.data`, where the admin's word stands.
    """
    if not is_older(ident, proven) or _plain(app) in _named(data):
        return ""
    old, new = version_of(ident), version_of(proven)
    return str(
        HearthError(
            f"downgrade {app} on {guest} from {new} to {old}",
            f"{new} may have changed its data, and {old} is not promised to read them",
            f"pin {new} or newer; or try it with the data of now: --data {ALLOWED}={app}; docs/upgrades.md",
        )
    )


def kept_days(data: Any) -> int:
    """Days for which the data from before an upgrade are kept: `upgrade_kept_days`.

    Args:
        data: pyinfra's `host.data`.

    Raises:
        HearthError: it is no number of days.
    """
    found = data.get("upgrade_kept_days", KEPT_DAYS)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise HearthError(
            "keep data from before an upgrade",
            f"upgrade_kept_days is {found!r}",
            "write a whole number of days into group_data/all.py",
        )
    return found


def _named(data: Any) -> set[str]:
    return {_plain(name) for name in str(data.get(ALLOWED, "") or "").split(",")}


def _plain(name: str) -> str:
    """Roles are written with `_`, programs with `-`: the admin need not know."""
    return name.strip().replace("_", "-")

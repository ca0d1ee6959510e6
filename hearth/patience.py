"""How long a run waits for Proxmox's API: settings of the environment, for slow nodes and busy ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypedDict

from hearth.errors import HearthError

API_TIMEOUT: Final = "HEARTH_API_TIMEOUT"
LOCK_TIMEOUT: Final = "HEARTH_LOCK_TIMEOUT"


class Patience(TypedDict):
    """Arguments of `hearth.proxmox.api.Api`, in seconds."""

    timeout: float
    lock_timeout: float


def patience(environ: Mapping[str, str]) -> Patience:
    """How long to wait for an answer (30 s unless set), and for a lock that somebody else holds (120 s).

    Args:
        environ: HEARTH_API_TIMEOUT and HEARTH_LOCK_TIMEOUT, seconds, more than 0.

    Raises:
        HearthError: one of them is no such number.
    """
    return Patience(
        timeout=_seconds(environ, API_TIMEOUT, 30.0), lock_timeout=_seconds(environ, LOCK_TIMEOUT, 120.0)
    )


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    given = environ.get(name, "").strip()
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise HearthError(f"use {name}={given}", "it is no number of seconds", f"e.g. {name}={default:.0f}")
    return seconds

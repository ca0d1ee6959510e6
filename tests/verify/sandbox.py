"""What every service of ours promises: a user of its own, walls around it, limits, and no crash."""

from __future__ import annotations

import re
from typing import Any

EXPOSED = 5.0  # systemd-analyze security's overall exposure, 0 (none) to 10
SHOWN = "User,ProtectSystem,NoNewPrivileges,NRestarts,UMask,MemoryMax,TasksMax,Restart,ActiveState"


def assert_confined(host: Any, unit: str, user: str, steady: bool = True) -> None:
    """Fail unless a unit runs as this user, behind walls, within limits, and comes back by itself.

    Args:
        host: the guest.
        unit: its full name.
        user: whom it runs as.
        steady: it must not have ended by itself since it was started; False for what ends whenever something
            else is away.
    """
    said = host.check_output(f"systemctl show -p {SHOWN},StartLimitIntervalUSec {unit}")
    shown = dict(line.split("=", 1) for line in said.splitlines())
    assert shown["ActiveState"] == "active"
    assert shown["User"] == user
    assert (shown["ProtectSystem"], shown["NoNewPrivileges"], shown["UMask"]) == ("strict", "yes", "0077")
    assert (shown["Restart"], shown["StartLimitIntervalUSec"]) == ("always", "0")
    assert "infinity" not in (shown["MemoryMax"], shown["TasksMax"])
    assert exposure(host, unit) <= EXPOSED
    if steady:
        assert shown["NRestarts"] == "0"


def exposure(host: Any, unit: str) -> float:
    """What systemd itself thinks of a unit's walls."""
    said = host.check_output(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found.group(1))

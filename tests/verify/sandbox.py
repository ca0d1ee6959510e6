"""What every service of ours promises: a user of its own, walls around it, limits, and no crash."""

from __future__ import annotations

import re
from typing import Any

EXPOSED = 5.0  # systemd-analyze security's overall exposure, 0 (none) to 10


def assert_confined(host: Any, unit: str, user: str) -> None:
    """Fail unless a unit runs as this user, behind walls, within limits, and never had to be restarted."""
    names = "User,ProtectSystem,NoNewPrivileges,NRestarts,UMask,MemoryMax,TasksMax,Restart,ActiveState"
    shown = dict(
        line.split("=", 1) for line in host.check_output(f"systemctl show -p {names} {unit}").split()
    )
    assert shown["ActiveState"] == "active"
    assert shown["User"] == user
    assert (shown["ProtectSystem"], shown["NoNewPrivileges"]) == ("strict", "yes")
    assert (shown["UMask"], shown["Restart"], shown["NRestarts"]) == ("0077", "always", "0")
    assert "infinity" not in (shown["MemoryMax"], shown["TasksMax"])
    said = host.check_output(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert found
    assert float(found.group(1)) <= EXPOSED

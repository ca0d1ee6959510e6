"""The tailnet: its devices, their routes, and its policy. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from hearth.drift.finding import Finding
from hearth.tailnet import policy
from hearth.tailnet.status import Row

PRUNE = "hearth tailnet prune"
APPLY = "hearth tailnet policy"


def of_devices(rows: Iterable[Row], down: Collection[str]) -> Iterator[Finding]:
    """What of the devices is otherwise.

    Args:
        rows: of `hearth tailnet status`.
        down: guests that do not run: their own state says it already.
    """
    for row in rows:
        if row.guest in down:
            continue
        name = row.device.name if row.device else row.guest
        for wrong in row.wrong:
            subject = row.guest or "home"
            yield Finding(subject, "tailnet", f"device {name}", "", wrong, "", "" if row.guest else PRUNE)


def of_policy(state: policy.State) -> Iterator[Finding]:
    """What of the policy is otherwise.

    Args:
        state: how the file stands to the policy there.
    """
    if state not in policy.WELL:
        yield Finding("home", "policy", policy.FILE, "", state.value, "", APPLY)

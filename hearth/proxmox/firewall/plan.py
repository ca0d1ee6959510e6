"""What a run will do with a cluster's firewall, in the admin's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hearth.proxmox.firewall.compare import Step
from hearth.proxmox.firewall.model import Seen
from hearth.proxmox.firewall.switch import SWITCH_ON


@dataclass(frozen=True)
class WallPlan:
    """The plan of one node; its cluster's first node in the fleet file does the work for all.

    Args:
        cluster: its name.
        steps: what differs.
        seen: what is there; None where another node does the work.
        ran_out: the dead-man switch was set for rules that were never proven.
    """

    cluster: str
    steps: tuple[Step, ...] = ()
    seen: Seen | None = None
    ran_out: bool = False

    @property
    def does_something(self) -> bool:
        """True where a run would write."""
        return self.seen is not None and (bool(self.steps) or self.seen.enable != SWITCH_ON)

    @property
    def state(self) -> str:
        """Whether the firewall is on, in words."""
        if self.seen is None or self.seen.enable == SWITCH_ON:
            return "on"
        if self.seen.enable:
            return "on for a minute: new rules are being proven, or the run that did so was killed"
        return "off: the dead-man switch ran out before new rules were proven" if self.ran_out else "off"

    def lines(self) -> Iterator[str]:
        """For people: state, steps, what is not ours."""
        if self.seen is None:
            return
        if self.seen.enable != SWITCH_ON:
            yield f"firewall {self.state}; it will be on"
        for step in self.steps:
            yield f"firewall: {step}"
        for text in self.seen.foreign:
            yield f"firewall, not Hearth's and left as it is: {text}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "cluster": self.cluster,
            "state": self.state,
            "does_something": self.does_something,
            "steps": [step.to_json() for step in self.steps],
            "foreign": list(self.seen.foreign) if self.seen else [],
        }

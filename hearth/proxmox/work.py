"""One guest being worked on: what is wanted, how to look at it, whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hearth.errors import HearthError
from hearth.proxmox import desired, observe
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.observe import NodeView, Seen
from hearth.proxmox.plan import GuestPlan, plan_guest
from hearth.proxmox.wrapper import NodeShell

Say = Callable[[str], None]
TRIES = 3  # of writes whose answer was lost


def quiet(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Work:
    """One guest being converged: where, what, and whom to tell."""

    api: Api
    intent: desired.Intent
    shell: NodeShell | None
    say: Say
    restart: bool

    @property
    def name(self) -> str:
        """The guest's name."""
        return self.intent.guest.name

    def look(self) -> Seen | None:
        """The guest as it is now."""
        guest = self.intent.guest
        return observe.look(self.api, self.intent.node, guest.kind, guest.vmid)

    def plan(self) -> GuestPlan:
        """The plan from what is there now, whatever the command line named."""
        seen = self.look()
        intent = replace(self.intent, replace=False)
        views = [NodeView(intent.node, (seen,) if seen else ())]
        if seen is None:
            return plan_guest(intent, views)
        config = observe.read_config(self.api, seen)
        pool = self.intent.guest.pool
        return plan_guest(intent, views, config, observe.pools(self.api, [pool]) if pool else None)


@contextmanager
def told(action: str) -> Iterator[None]:
    """Say what was being done when Proxmox refused a request; who cannot be reached says so himself."""
    try:
        yield
    except ApiError as error:
        if error.status is None or not error.action.startswith(("GET ", "PUT ", "POST ", "DELETE ")):
            raise
        raise HearthError(action, error.reason, error.remedy) from error

"""The calls that change guests, and what the rest of the run must know of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from paramiko import PKey

from hearth.node_ssh import node_runner
from hearth.proxmox import guests, images
from hearth.proxmox.wrapper import NodeShell

if TYPE_CHECKING:
    from hearth.fleet.model import Guest, Image
    from hearth.known_hosts import KnownHosts
    from hearth.proxmox.plan import GuestPlan
    from hearth.survey import Survey

Say = Callable[[str], None]


class Convergence:
    """Images, guests, restarts.

    Args:
        survey: what is there, and the plans.
        known: the host keys; a guest's is forgotten before it is made anew.
        node_key: gives the key `ssh/node`.
        on_path: gives the names of the guests that this run passes through.
    """

    def __init__(
        self,
        survey: Survey,
        known: KnownHosts,
        node_key: Callable[[], PKey],
        on_path: Callable[[], frozenset[str]],
    ) -> None:
        self._survey = survey
        self._known = known
        self._node_key = node_key
        self._on_path = on_path
        self._fetched: dict[tuple[str, str], threading.Lock] = {}
        self._there: set[tuple[str, str]] = set()

    def missing_images(self, node: str) -> tuple[Image, ...]:
        """The images that guests to be made on a node need and it does not have; one GET where one is made.

        Raises:
            HearthError: the storage cannot be read.
        """
        fleet = self._survey.fleet
        needed = images.needed(fleet, self._survey.absent_on(node, self._survey.chosen))
        return images.missing(self._survey.api(node), fleet.node(node), needed)

    def fetch_image(self, node: str, name: str, say: Say) -> None:
        """Have an image on a node; whoever comes second waits for the first.

        Raises:
            HearthError: it cannot be fetched.
        """
        api, fleet = self._survey.api(node), self._survey.fleet
        with self._fetched.setdefault((node, name), threading.Lock()):
            if (node, name) not in self._there:
                for image in images.missing(api, fleet.node(node), [fleet.image(name)]):
                    images.fetch(api, fleet.node(node), image, say)
                self._there.add((node, name))

    def converge(self, guest: Guest, say: Say) -> None:
        """Make a guest what its plan says.

        Raises:
            HearthError: refused or failed; run again.
        """
        plan = self._survey.plan(guest)
        api, node = self._survey.api(plan.intent.node), plan.intent.node
        if plan.action in ("create", "replace"):
            if guest.image and plan.intent.archive is None:
                self.fetch_image(node, guest.image, say)
            self.forget_key(guest)
        restart_now = guest.name not in self._on_path()
        guests.converge(api, plan, self._shell(plan), say, restart_now)
        stays_down = plan.state == "stopped" and not plan.starts
        self._survey.now(guest, "stopped" if stays_down else "running")

    def restart(self, guest: Guest, say: Say) -> None:
        """Restart a guest for what waits, and for what was not written before it. Raises HearthError."""
        plan = self._survey.plan(guest)
        guests.restart_now(self._survey.api(plan.intent.node), plan, self._shell(plan), say)

    def _shell(self, plan: GuestPlan) -> NodeShell | None:
        return self.on_node(plan.intent.node) if plan.needs_root else None

    def on_node(self, name: str) -> NodeShell:
        """What Hearth's key may do on a node."""
        node = self._survey.fleet.node(name)
        return NodeShell(node_runner(node, self._node_key(), self._known))

    def destroy(self, guest: Guest, say: Say) -> None:
        """Destroy a guest that `teardown.py` was told to. Raises HearthError."""
        plan = self._survey.plan(guest)
        guests.destroy(self._survey.api(plan.intent.node), plan, say)
        self.forget_key(guest)
        self._survey.now(guest, "absent")

    def forget_key(self, guest: Guest) -> None:
        """Forget a guest's host key: the next machine at its addresses is another one."""
        for address in (guest.address, guest.address6):
            if address not in (None, "dhcp", "auto"):
                self._known.forget(str(address))

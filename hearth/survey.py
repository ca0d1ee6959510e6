"""What Proxmox says of the fleet in this run, and the plans that follow; asked once.

Two GETs a node, one for each guest of ours that is there, one for each pool that the fleet names; one
more a node where its cluster is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from hearth.errors import HearthError
from hearth.fleet.model import AUTO
from hearth.patience import patience
from hearth.proxmox import observe
from hearth.proxmox.access import Access, access
from hearth.proxmox.api import Api
from hearth.proxmox.cluster import Cluster, cluster_of
from hearth.proxmox.place import place_all
from hearth.proxmox.plan import GuestPlan, Intent, plan_destroy, plan_guest

if TYPE_CHECKING:
    from hearth.fleet.model import Fleet, Guest
    from hearth.options import Options
    from hearth.secrets import Secret


class Survey:
    """Views of nodes and plans of guests.

    Args:
        fleet: from the fleet file.
        options: what was asked for; guests named with --data adopt=, replace=, destroy=.
        environ: PROXMOX_VE_*, HEARTH_API_TIMEOUT, HEARTH_LOCK_TIMEOUT.
        find: looks a secret up (`proxmox/token`).
        keys: the public keys for root of a new guest.
    """

    def __init__(
        self,
        fleet: Fleet,
        options: Options,
        environ: Mapping[str, str],
        find: Callable[[str], Secret | None],
        keys: Callable[[], tuple[str, ...]],
    ) -> None:
        self.fleet = fleet
        self.options = options
        self._environ = environ
        self._find = find
        self._keys = keys
        self._lock = threading.RLock()  # over the views; they ask for the APIs, which have their own
        self._api_lock = threading.Lock()
        self._apis: dict[str, Api] = {}
        self._plans: dict[str, GuestPlan] = {}
        self._now: dict[str, str] = {}
        self._archives: dict[str, str] = {}
        self._clusters: dict[str, Cluster] = {}
        self.chosen: tuple[Guest, ...] = fleet.guests  # what --limit leaves
        self.only: frozenset[str] | None = None  # the guests that this run is about; None: all

    def api(self, node: str) -> Api:
        """The API of a node; nodes of one endpoint share it. Raises HearthError where there is no token."""
        way = self._way(node)
        with self._api_lock:
            if way.endpoint not in self._apis:
                self._apis[way.endpoint] = Api(way, **patience(self._environ))
            return self._apis[way.endpoint]

    def new_api(self, node: str, timeout: float) -> Api:
        """The API of a node over a new connection, with a patience of its own (seconds)."""
        return Api(self._way(node), timeout=timeout, lock_timeout=timeout)

    def _way(self, node: str) -> Access:
        token = self._find("proxmox/token")
        return access(self.fleet.node(node), self._environ, token.reveal() if token else None)

    @cached_property
    def _answers(self) -> dict[str, observe.NodeView | HearthError]:
        names = [node.name for node in self.fleet.nodes]
        with ThreadPoolExecutor(max_workers=8) as pool:
            return dict(zip(names, pool.map(self._observe, names), strict=True))

    def _observe(self, node: str) -> observe.NodeView | HearthError:
        try:
            return observe.observe(self.api(node), node, [guest.vmid for guest in self.fleet.guests])
        except HearthError as error:
            return error

    def view(self, node: str) -> observe.NodeView:
        """The guests of a node. Raises HearthError where it cannot be asked."""
        with self._lock:
            answer = self._answers[node]
        if isinstance(answer, HearthError):
            raise answer
        return answer

    @property
    def views(self) -> tuple[observe.NodeView, ...]:
        """The nodes that answered."""
        with self._lock:
            return tuple(view for view in self._answers.values() if isinstance(view, observe.NodeView))

    @property
    def errors(self) -> tuple[HearthError, ...]:
        """Why the other nodes did not."""
        with self._lock:
            return tuple(error for error in self._answers.values() if isinstance(error, HearthError))

    def state_of(self, guest: Guest) -> str:
        """`absent`, `stopped` or `running`, as of now in this run.

        Raises:
            HearthError: the node that would know cannot be asked.
        """
        if guest.name in self._now:
            return self._now[guest.name]
        seen = self._seen(guest)
        if seen is None:
            self.view(self.node_of(guest))
            return "absent"
        return seen.status

    def _seen(self, guest: Guest) -> observe.Seen | None:
        return next((seen for view in self.views if (seen := view.find(guest.vmid))), None)

    def choose(self, hosts: Iterable[str]) -> tuple[Guest, ...]:
        """The guests among the hosts that take part in this run; the others count no more."""
        names = set(hosts) if self.only is None else set(hosts) & self.only
        self.chosen = tuple(guest for guest in self.fleet.guests if guest.name in names)
        return self.chosen

    def cluster(self, node: str) -> Cluster:
        """The cluster that a node belongs to, asked once: one GET. Raises ApiError."""
        if node not in self._clusters:
            self._clusters[node] = cluster_of(self.api(node), node, self.fleet)
        return self._clusters[node]

    def now(self, guest: Guest, state: str) -> None:
        """Note what an operation of this run has made of a guest."""
        self._now[guest.name] = state

    def changed(self, guest: Guest) -> bool:
        """True once this run has worked on a guest: what was seen before no longer counts."""
        return guest.name in self._now

    def node_of(self, guest: Guest) -> str:
        """The node a guest lives on or will be made on; `auto` is decided once, then it stays.

        Raises:
            HearthError: it is `auto`, no node has it, and not every node could be asked.
        """
        if guest.node != AUTO:
            return guest.node
        with self._lock:
            if self.errors and self._seen(guest) is None:
                raise HearthError(
                    f"place guest {guest.name}",
                    f"it may be on a node that is down: {self.errors[0]}",
                )
            return self._placed[guest.name]

    @cached_property
    def _placed(self) -> dict[str, str]:
        if not self.views:
            raise self.errors[0]
        return place_all(self.fleet, self.views, observe.free_memory(self.api(self.views[0].node)))

    def intent(self, guest: Guest) -> Intent:
        """What this run wants of a guest."""
        named = {word: guest.name in self.options.names(word) for word in ("adopt", "replace", "destroy")}
        node = self.node_of(guest)
        return Intent(
            guest,
            self.fleet,
            node,
            self._keys(),
            **named,
            walled=self.fleet.firewall,
            archive=self._archives.get(guest.name),
        )

    def use_archive(self, guest: Guest, archive: str) -> None:
        """Make a guest from a backup (volume ID) instead of its image, where this run makes it."""
        self._archives[guest.name] = archive
        self._plans.pop(guest.name, None)

    def plan(self, guest: Guest) -> GuestPlan:
        """The plan of a guest, made once.

        Raises:
            HearthError: its node cannot be asked.
        """
        if guest.name not in self._plans:
            self._plans[guest.name] = self._plan(guest)
        return self._plans[guest.name]

    def _plan(self, guest: Guest) -> GuestPlan:
        intent = self.intent(guest)
        self.state_of(guest)  # raises where nobody can know
        seen = self._seen(guest)
        config = None
        if seen is not None and seen.kind == guest.kind:
            config = observe.read_config(self.api(seen.node), seen)
        if intent.destroy:
            return plan_destroy(intent, self.views, config)
        return plan_guest(intent, self.views, config, self.pools)

    @property
    def pools(self) -> Mapping[int, str]:
        """VMID -> pool, of the pools that the fleet names; asked once, whoever comes first."""
        with self._lock:
            return self._pools

    @cached_property
    def _pools(self) -> Mapping[int, str]:
        names = {guest.pool for guest in self.fleet.guests if guest.pool}
        return observe.pools(self.api(self.views[0].node), names) if names else {}

    def absent_on(self, node: str, guests: Iterable[Guest]) -> tuple[str, ...]:
        """Those of these guests that will be made on a node, by name."""
        return tuple(
            guest.name
            for guest in guests
            if self.node_of(guest) == node
            and self.plan(guest).action in ("create", "replace")
            and guest.name not in self._archives
        )

"""The one run of this process: the fleet, what Proxmox says of it, keys, and what was asked for.

Everything is read when it is first needed, and kept.
"""

from __future__ import annotations

import os
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paramiko import Ed25519Key

from hearth.backup_jobs import BackupJobs
from hearth.convergence import Convergence
from hearth.errors import HearthError
from hearth.fleet.loader import load_fleet
from hearth.known_hosts import KnownHosts
from hearth.ops import upgrade
from hearth.options import Options
from hearth.path import addresses_on_path, guests_on_path
from hearth.phones.registry import Phones, load_phones, phones_file
from hearth.pki import Authority
from hearth.proxmox.address import address_in
from hearth.role.catalogue import load_roles
from hearth.role.order import in_order
from hearth.secrets import SecretStore, ensure_ssh_key
from hearth.survey import Survey
from hearth.tailnet_nodes import TailnetNodes
from hearth.tailnet_policy import TailnetPolicy
from hearth.values import tuned
from hearth.walls import Walls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramiko import PKey

    from hearth.fleet.model import Fleet, Guest
    from hearth.role.declaration import Role
    from hearth.role.here import Restoring, RunLike


class Run:
    """Lazily everything that a run knows.

    Args:
        project: the folder with deploy.py, inventory/, roles/.
        options: what was asked for.
        environ: where the settings of docs/install.md come from.
    """

    def __init__(self, project: Path, options: Options, environ: Mapping[str, str] = os.environ) -> None:
        self.project = project
        self.options = options
        self.environ = environ
        self.executing = False
        self.interrupted = False  # Ctrl-C was pressed
        self.rotating: tuple[str, ...] = ()  # secrets that this run rotates
        self.staged: RunLike | None = None  # what roles are planned with instead of this run
        self.restoring: Restoring | None = None  # what brings the state of roles back
        self.brought_back: set[tuple[str, str]] = set()  # (guest, role) whose state this run has restored
        self.stage_of: dict[str, int] = {}  # operation hash -> its role's place in the order
        self.unreached: dict[str, str] = {}  # host -> why it takes no part in this run

    @property
    def fleet_file(self) -> Path:
        """The fleet file: HEARTH_FLEET, or inventory/fleet.yaml."""
        return self.project / self.environ.get("HEARTH_FLEET", "inventory/fleet.yaml")

    @property
    def state_dir(self) -> Path:
        """Where this machine keeps what is neither secret nor the fleet's: lock and known hosts."""
        return self.project / self.environ.get("HEARTH_STATE_DIR", ".hearth")

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Every role of roles/, by name."""
        return load_roles(self.project / "roles")

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet. Raises FleetError with every mistake of the file."""
        return load_fleet(self.fleet_file, self.roles)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The roles in the order of their needs."""
        return in_order(self.roles)

    @cached_property
    def values(self) -> dict[str, Any]:
        """Every value of group_data, the overrides before them."""
        return tuned(self.project, self.environ)

    @cached_property
    def walls(self) -> Walls:
        """The table of flows, and Proxmox's firewall."""
        return Walls(self)

    @cached_property
    def backup_jobs(self) -> BackupJobs:
        """Proxmox's backup jobs."""
        return BackupJobs(self)

    @cached_property
    def tailnet_nodes(self) -> TailnetNodes:
        """The nodes' own places in the tailnet."""
        return TailnetNodes(self)

    @cached_property
    def tailnet_policy(self) -> TailnetPolicy:
        """The tailnet's policy."""
        return TailnetPolicy(self)

    @cached_property
    def secrets(self) -> SecretStore:
        """The secrets; nothing is opened until one is asked for."""
        return SecretStore.from_environment(self.project, self.environ)

    @cached_property
    def authority(self) -> Authority:
        """The fleet's certificate authority."""
        return Authority(self.secrets)

    @cached_property
    def phones(self) -> Phones:
        """The phones that may come in from outside."""
        return load_phones(phones_file(self.project, self.fleet_file, self.environ))

    @cached_property
    def known_hosts(self) -> KnownHosts:
        """The SSH host keys of the fleet, in a file of the project's own."""
        return KnownHosts(self.state_dir / "known_hosts")

    @cached_property
    def on_path(self) -> frozenset[str]:
        """The guests that this run passes through."""
        return guests_on_path(self.fleet, addresses_on_path(self.fleet))

    @property
    def known_hosts_file(self) -> Path:
        """The file of `known_hosts`."""
        return self.known_hosts.path

    @cached_property
    def deploy_key(self) -> PKey:
        """The key that the run logs in with."""
        return self._private_key("deploy")

    @cached_property
    def guest_keys(self) -> tuple[str, ...]:
        """The public keys that root of a new guest accepts: the run's own first, then the admin's."""
        return (ensure_ssh_key(self.secrets, "deploy")[1], *self.fleet.admin.keys)

    def start_executing(self) -> None:
        """Execution begins: what was generated while planning is on disk before anything uses it."""
        self.executing = True
        self.secrets.save()

    @cached_property
    def node_key(self) -> PKey:
        """The key that nodes accept for their forced command."""
        return self._private_key("node")

    def _private_key(self, name: str) -> PKey:
        private, _ = ensure_ssh_key(self.secrets, name)
        return Ed25519Key.from_private_key(StringIO(private.reveal()))

    # ------------------------------------------------------------------ guests

    @cached_property
    def survey(self) -> Survey:
        """What Proxmox says of the fleet, and the plan that follows."""
        return Survey(
            self.fleet,
            self.options,
            self.environ,
            self.secrets.find,
            lambda: self.guest_keys,
        )

    @cached_property
    def convergence(self) -> Convergence:
        """What changes guests."""
        return Convergence(self.survey, self.known_hosts, lambda: self.node_key, lambda: self.on_path)

    def is_guest(self, name: str) -> bool:
        """True for a guest's name, False for a node's."""
        return any(guest.name == name for guest in self.fleet.guests)

    def address_of(self, guest: Guest) -> str:
        """Where a guest answers now: what Proxmox has for it, as long as this run has not changed that."""
        plan = self.survey.plan(guest)
        if plan.config is not None and not self.survey.changed(guest):
            present = address_in(plan.config, guest.kind)
            if present:
                return present
        return str(guest.address)

    def restarts_last(self, guest: Guest) -> bool:
        """True where a change needs a restart of a guest that this run passes through."""
        return self.survey.plan(guest).restarts and guest.name in self.on_path

    def refuse_path(self, guest: Guest) -> None:
        """Refuse to destroy what this run passes through. Raises HearthError."""
        plan = self.survey.plan(guest)
        if plan.action in ("replace", "destroy") and guest.name in self.on_path:
            raise HearthError(
                f"{plan.action} guest {guest.name}",
                "this run passes through it and would cut its own line",
                "run it from another machine",
            )

    def known_names(self) -> None:
        """Refuse names on the command line that are no guests of the fleet, no roles. Raises HearthError."""
        names = {guest.name for guest in self.fleet.guests}
        for word in ("adopt", "replace", "destroy"):
            unknown = sorted(self.options.names(word) - names)
            if unknown:
                there = f"it has: {', '.join(sorted(names))}"
                raise HearthError(word, f"the fleet has no guest {', '.join(unknown)}", there)
        programs = {name.replace("-", "_") for name in self.options.names(upgrade.ALLOWED)}
        if strangers := sorted(programs - set(self.roles)):
            raise HearthError(
                upgrade.ALLOWED,
                f"there is no role {', '.join(strangers)}",
                f"write --data {upgrade.ALLOWED}=ROLE[,ROLE]",
            )


_current: list[Run] = []


def begin(project: Path, options: Options, environ: Mapping[str, str] = os.environ) -> Run:
    """Start the one run of this process; config.py does, and commands that plan without pyinfra."""
    _current[:] = [Run(project, options, environ)]
    return _current[0]


def current() -> Run:
    """The run of this process.

    Raises:
        HearthError: none was begun: pyinfra was started somewhere else than in the project's folder.
    """
    if not _current:
        raise HearthError("find the run", "config.py was not read", "start pyinfra in the project's folder")
    return _current[0]

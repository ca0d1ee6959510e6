"""The fleet's nodes in the tailnet: how each should stand, and how it stands, asked once until it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hearth.errors import HearthError
from hearth.node_ssh import node_runner
from hearth.role.tailnet import VENDOR, node_name, server_host, server_url, tailnet_of
from hearth.tailnet.membership import Entry, Settings
from hearth.tailnet.on_node import OnNode, Standing, Wanted

if TYPE_CHECKING:
    from paramiko import PKey

    from hearth.fleet.model import Fleet
    from hearth.known_hosts import KnownHosts
    from hearth.pki import Authority
    from hearth.role.declaration import Role
    from hearth.secrets import SecretStore


class RunLike(Protocol):
    """What TailnetNodes takes from the run (hearth.run.Run)."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def roles(self) -> Mapping[str, Role]: ...
    @property
    def values(self) -> Mapping[str, Any]: ...
    @property
    def secrets(self) -> SecretStore: ...
    @property
    def authority(self) -> Authority: ...
    @property
    def known_hosts(self) -> KnownHosts: ...
    @property
    def node_key(self) -> PKey: ...


class TailnetNodes:
    """What a run knows of them.

    Args:
        run: the run; everything is asked of it when it is first needed.
    """

    def __init__(self, run: RunLike) -> None:
        self._run = run
        self._standing: dict[str, Standing | HearthError] = {}

    def asks(self, node: str) -> bool:
        """True for a node that the fleet file has in the tailnet."""
        return self._run.fleet.node(node).tailnet

    def wanted(self, node: str) -> Wanted:
        """How a node should stand.

        Raises:
            HearthError: a value of group_data/tailscale.py means nothing.
        """
        fleet = self._run.fleet
        server = server_url(fleet, self._run.roles)
        entry = Entry(
            Settings(node_name(fleet.node(node))),
            server,
            tailnet_of(fleet).domain,
            lives=self._number("tailscale_key_minutes", 1) * 60,
            within=self._number("tailscale_joins_within", 10),
        )
        return Wanted(entry, "" if server == VENDOR else self._run.authority.ca_pem, server_host(fleet))

    def shell(self, node: str) -> OnNode:
        """The node's wrapper.

        Raises:
            HearthError: there is no key for it.
        """
        run = self._run
        if run.secrets.find("ssh/node") is None:
            remedy = "`python bootstrap.py` makes and installs it"
            raise HearthError(f"ask the SSH wrapper of {node}", "there is no key for it yet", remedy)
        return OnNode(node, node_runner(run.fleet.node(node), run.node_key, run.known_hosts))

    def standing(self, node: str) -> Standing | HearthError:
        """How a node stands, or why its wrapper does not say."""
        if node not in self._standing:
            try:
                self._standing[node] = self.shell(node).state(server_host(self._run.fleet))
            except HearthError as error:
                self._standing[node] = error
        return self._standing[node]

    def now(self, node: str) -> Standing:
        """How a node stands, asked again. Raises HearthError where its wrapper does not say."""
        self.changed(node)
        found = self.standing(node)
        if isinstance(found, HearthError):
            raise found
        return found

    def changed(self, node: str) -> None:
        """What was known of a node counts no longer."""
        self._standing.pop(node, None)

    def lines(self, node: str) -> Iterator[str]:
        """What a plan cannot know of a node that was asked."""
        found = self._standing.get(node)
        if isinstance(found, HearthError):
            yield f"how it stands in the tailnet is not known, all of it is planned: {found}"

    def _number(self, name: str, least: int) -> int:
        found = self._run.values.get(name)
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            remedy = f"write a whole number of at least {least} into group_data/tailscale.py"
            raise HearthError("join nodes to the tailnet", f"{name} is {found!r}", remedy)
        return found

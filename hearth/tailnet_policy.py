"""The tailnet's policy in a run: how it stands to the admin's file, and how it comes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hearth.errors import HearthError
from hearth.role.coordination import access_for
from hearth.role.tailnet import HEADSCALE, api_url
from hearth.tailnet import connect, policy
from hearth.tailnet.wire import Patience

if TYPE_CHECKING:
    from hearth.fleet.model import Fleet
    from hearth.role.declaration import Role
    from hearth.secrets import SecretStore
    from hearth.survey import Survey
    from hearth.tailnet import Access

#: While planning: a server that is not there yet must not hold up a plan for minutes.
BRIEF: Final = Patience(timeout=10.0, tries=2)


class RunLike(Protocol):
    """What TailnetPolicy takes from the run (hearth.run.Run)."""

    @property
    def project(self) -> Path: ...
    @property
    def state_dir(self) -> Path: ...
    @property
    def environ(self) -> Mapping[str, str]: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def roles(self) -> Mapping[str, Role]: ...
    @property
    def secrets(self) -> SecretStore: ...
    @property
    def survey(self) -> Survey: ...


class TailnetPolicy:
    """What a run knows of it.

    Args:
        run: the run; everything is asked of it when it is first needed.
    """

    def __init__(self, run: RunLike) -> None:
        self._run = run

    def of(self, node: str) -> bool:
        """True for the node that looks after the policy: the first of a fleet that has a tailnet and a file.

        Args:
            node: a node's name.
        """
        fleet = self._run.fleet
        return fleet.tailnet is not None and self._file.exists() and node == fleet.nodes[0].name

    @cached_property
    def standing(self) -> policy.State | HearthError | None:
        """How the file stands to the policy there; why nobody can tell; None where nobody may ask:
        a server that is not the fleet's own, and no credential for it.

        Raises:
            HearthError: the file cannot be used. Nothing was changed.
        """
        text = policy.load(self._file)
        if self._own_server_is_away():
            return HearthError("ask the coordination server", "its guest does not run yet")
        try:
            given = self._access()
        except HearthError as error:
            return error if api_url(self._run.fleet, self._run.roles) else None
        try:
            return policy.compare(text, connect(given, BRIEF).policy(), self._memory(given).applied())
        except HearthError as error:
            return error

    def lines(self, node: str) -> Iterator[str]:
        """What a plan says of it: what it cannot know, and a policy of others that stays.

        Args:
            node: a node's name.
        """
        if "standing" not in self.__dict__ or not self.of(node):
            return
        if isinstance(self.standing, HearthError):
            yield f"how the tailnet's policy stands is not known, it is planned: {self.standing}"
        elif self.standing in policy.OVERWRITES:
            yield _stays(self.standing)

    def converge(self, say: Callable[[str], None]) -> None:
        """Make the policy there the file's, unless somebody else wrote it: that one is named, and stays.

        Args:
            say: tells the admin.

        Raises:
            HearthError: the server is not reached, or refuses the policy or one of its tests.
        """
        text = policy.load(self._file)
        given = self._access()
        api, memory = connect(given), self._memory(given)
        state = policy.compare(text, api.policy(), memory.applied())
        if state in policy.OVERWRITES:
            say(_stays(state))
        else:
            policy.apply(api, text, memory)

    @property
    def _file(self) -> Path:
        return self._run.project / policy.FILE

    def _access(self) -> Access:
        run = self._run
        return access_for(run.fleet, run.roles, run.environ, run.secrets)

    def _memory(self, given: Access) -> policy.Memory:
        return policy.Memory(self._run.state_dir / policy.MEMORY, f"{given.url} {given.tailnet}")

    def _own_server_is_away(self) -> bool:
        guests = self._run.fleet.with_role(HEADSCALE)
        return any(self._run.survey.plan(guest).state != "running" for guest in guests)


def _stays(state: policy.State) -> str:
    return f"the tailnet's policy stays as it is: {state.value} (`hearth tailnet policy`)"

"""The steps of rotate.py: secrets get new values, their users are switched, the old values go.

Between the steps stands an ordinary deploy of all roles, planned with the secrets as they are in that phase.
Where each secret stands is on disk before any guest gets to know (hearth/secrets/rotation.py): a run that was
cut off anywhere is completed by the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyinfra import context, logger
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy.node_token import NAME as TOKEN
from hearth.deploy.node_token import privileged
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.pki import Authority
from hearth.role.acl import VERIFIER, mqtt_users
from hearth.rotation import Known, Makers, begun, choose
from hearth.secrets import SecretStore, password
from hearth.secrets.bitwarden import is_reference
from hearth.secrets.rotation import Phase, Rotation, decode, encode, entry_of, moved, reaches
from hearth.secrets.staged import StagedSecrets, rotations
from hearth.values import tuned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from hearth.fleet.model import Fleet, Guest
    from hearth.known_hosts import KnownHosts
    from hearth.phones.registry import Phones
    from hearth.role.declaration import Role
    from hearth.run import Run

_lock = threading.Lock()  # the hosts' steps run side by side; the first one does it for all


@dataclass(frozen=True)
class StagedRun:
    """The run, with the secrets as they are in a phase.

    Args:
        run: the run.
        phase: the phase.
    """

    run: Run
    phase: Phase

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.run.project

    @property
    def fleet(self) -> Fleet:
        """The fleet."""
        return self.run.fleet

    @property
    def roles(self) -> Mapping[str, Role]:
        """Every role."""
        return self.run.roles

    @cached_property
    def secrets(self) -> SecretStore:
        """The secrets in that phase."""
        return StagedSecrets(self.run.secrets, self.phase)

    @cached_property
    def authority(self) -> Authority:
        """The authority, with the certificates of that phase."""
        return Authority(self.secrets)

    @property
    def phones(self) -> Phones:
        """The phones: nothing of theirs is rotated."""
        return self.run.phones

    @property
    def known_hosts(self) -> KnownHosts:
        """The SSH host keys."""
        return self.run.known_hosts

    @property
    def restoring(self) -> None:
        """Nothing is restored."""
        return None


def begin() -> None:
    """Choose what is rotated (`--data rotate=...`), and complete what an earlier run began.

    Raises:
        HearthError: nothing is named, something cannot be rotated, or this run does not reach every guest.
    """
    run = runs.current()
    if not run.rotating:
        _refuse_parts(run)
        run.rotating = _names(run)
        logger.info(f"--> Rotating: {', '.join(run.rotating)}")
    saved(name="Keep the new secrets, not used yet")


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """Plan what stands inside with the secrets as they are in a phase."""
    run = runs.current()
    run.staged = StagedRun(run, name)
    try:
        yield
    finally:
        run.staged = None


def switch() -> None:
    """From here on the new values are used."""
    advanced(name="Use the new secrets", to="switched")


def withdraw() -> None:
    """From here on the old values are refused."""
    advanced(name="Refuse the old secrets", to="withdrawn")


def end() -> None:
    """Forget the old values."""
    ended(name="Forget the old secrets")


@operation()
def saved() -> Generator[FunctionCommand, None, None]:
    """Nothing: the new values were written when execution began. It stands for that in the plan."""
    yield FunctionCommand(_checked, (), {})


@operation()
def advanced(to: Phase) -> Generator[FunctionCommand, None, None]:
    """Note, for all rotations at once, that the next phase begins: every guest has the one before."""
    yield FunctionCommand(_advance, (to,), {})


@operation()
def ended() -> Generator[FunctionCommand, None, None]:
    """Note that the rotations are over."""
    yield FunctionCommand(_end, (), {})


@told
def _checked(state: Any, host: Any) -> None:
    _refuse_failed(state)


@told
def _advance(state: Any, host: Any, to: Phase) -> None:
    _refuse_failed(state)
    with _lock:
        advance(runs.current().secrets, to)


@told
def _end(state: Any, host: Any) -> None:
    _refuse_failed(state)
    with _lock:
        finish(runs.current().secrets)


def kept(store: SecretStore) -> list[Rotation]:
    """The rotations that have not ended."""
    return [decode(name, store.get(entry_of(name))) for name in rotations_of(store)]


def rotations_of(store: SecretStore) -> list[str]:
    """The names of the secrets whose rotation has not ended."""
    return rotations(store.names())


def advance(store: SecretStore, to: Phase) -> None:
    """Move every rotation to a phase, on disk; those that are there already stay.

    Raises:
        HearthError: a new value is not known yet, or the file cannot be written.
    """
    # Not what the environment has: that is used, but it is not what is replaced.
    held = {name: store.stored(name) for name in store.names()}
    for rotation in kept(store):
        if reaches(rotation, to):
            continue
        if rotation.phase == "offered" and rotation.other.get(rotation.name) is None:
            raise HearthError(
                f"rotate {rotation.name}", "its server has made no new one", "deploy its server"
            )
        after, values = moved(rotation, to, held.get)
        for name, value in values.items():
            if value is None:
                store.remove(name)
            else:
                store.put(name, value.reveal())
        store.put(entry_of(rotation.name), encode(after))
    store.save()


def finish(store: SecretStore) -> None:
    """Forget the rotations and with them the old values, on disk."""
    for name in rotations_of(store):
        store.remove(entry_of(name))
    store.save()


def missing(guests: Iterable[Guest], state_of: Callable[[Guest], str], reached: Collection[str]) -> str:
    """Why not every guest can take part; empty where all can. Appliances have nothing to switch.

    Args:
        guests: of the fleet.
        state_of: `absent`, `stopped` or `running`.
        reached: the names of those that answer.
    """
    for guest in guests:
        if guest.appliance:
            continue
        state = state_of(guest)
        if state != "running":
            return f"guest {guest.name} is {state}"
        if guest.name not in reached:
            return f"guest {guest.name} does not answer"
    return ""


# ------------------------------------------------------------------------ internal


def _refuse_failed(state: Any) -> None:
    failed = sorted(host.name for host in state.failed_hosts)
    if failed:
        raise HearthError(
            "go on with the rotation", f"{', '.join(failed)} failed", "mend it, and run rotate.py again"
        )


def _refuse_parts(run: Run) -> None:
    options = run.options
    if options.limited or options.apart:
        raise HearthError(
            "rotate secrets",
            "every guest has to take part, one step after the other",
            "leave out --limit, --exclude, --serial and --no-wait",
        )
    reached = {host.name for host in context.state.activated_hosts - context.state.failed_hosts}
    why = missing(run.fleet.guests, run.survey.state_of, reached)
    if why:
        raise HearthError("rotate secrets", why, "pyinfra inventory deploy.py first")


def _names(run: Run) -> tuple[str, ...]:
    store = run.secrets
    pending = rotations_of(store)
    wanted = run.options.names("rotate")
    if not wanted and not pending:
        raise HearthError(
            "rotate secrets", "none is named", "--data rotate=all, or names: rotate=mqtt/*,NAME"
        )
    known = _known(run)
    chosen = [name for name in choose(wanted, known) if name not in pending]
    make = Makers(password, Authority(store).reissued)
    for name in chosen:
        store.put(entry_of(name), encode(begun(name, known, store.find, make)))
    return tuple(sorted({*pending, *chosen}))


def _known(run: Run) -> Known:
    store = run.secrets
    values = tuned(run.project, run.environ)
    services = {user.name for user in mqtt_users(run.fleet, run.roles, {})} - {VERIFIER}
    by_hand = {f"mqtt/{name}" for name in _mqtt_names(store) - services - {VERIFIER}}
    for role in ("mcp_hub", "ai_automation"):
        by_hand |= {f"{role.replace('_', '-')}/token/{name}" for name in values.get(f"{role}_clients") or ()}
    by_hand |= {f"home-assistant/token/{name}" for name in values.get("home_assistant_clients") or ()}
    names = store.names()
    elsewhere = {name for name in names if store.overridden(name) or is_reference(store.stored(name))}
    # Root's own token in the environment is no other source of it, but what it can be rotated with.
    elsewhere = elsewhere - {TOKEN} if privileged(run) else elsewhere | {TOKEN}
    return Known(names, frozenset(services), frozenset(by_hand), frozenset(elsewhere))


def _mqtt_names(store: SecretStore) -> set[str]:
    return {name.removeprefix("mqtt/") for name in store.names() if name.startswith("mqtt/")}

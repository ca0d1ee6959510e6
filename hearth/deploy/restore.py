"""The steps of restore.py: the backup is found and proven first; then guests, roles, and their states."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyinfra import context, logger
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.backup import proof, record, restoring, whole
from hearth.backup.onguest.restic import ResticError
from hearth.backup.sending import send
from hearth.backup.timeline import Timeline, Verdict, objectives, verdicts
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.role.here import Here

if TYPE_CHECKING:
    from hearth.fleet.model import Guest
    from hearth.proxmox.archives import Archive
    from hearth.run import Run

COMMAND = "/usr/local/sbin/hearth-state"
_lock = threading.Lock()


@dataclass
class Restore:
    """The one restore of this process.

    Args:
        run: the run.
    """

    run: Run
    timeline: Timeline = field(default_factory=Timeline)
    verified: bool | None = None

    @cached_property
    def guests(self) -> tuple[Guest, ...]:
        """The guests that are restored."""
        return restoring.chosen(self.run.fleet, self.run.options.names("restore"))

    @cached_property
    def wanted(self) -> dict[str, list[str]]:
        """The pieces that they need."""
        return restoring.wanted(self.guests, self.run.roles, self.run.fleet)

    @cached_property
    def proven(self) -> proof.Proven:
        """The backup that is used: read whole, once."""
        data = self.run.options.data or {}
        found = proof.find(
            restoring.sources(data, self.run.fleet, self.run.values, self.run.secrets, self.session),
            self.wanted,
            restoring.choice(data, self.run.values),
            lambda text: logger.info(f"--> Restore: {text}"),
        )
        logger.info(f"--> Restore: from {found.snapshot}, read whole: every state is what its manifest says")
        for name in found.missing:
            logger.warning(f"--> Restore: no backup has {name}: it begins anew")
        self.timeline.mark("backup found and proven")
        return found

    @cached_property
    def archives(self) -> dict[str, Archive]:
        """Proxmox's backups that guests are made from: of those that are made in this run."""
        found = whole.chosen(
            self.run, self.guests, restoring.choice(self.run.options.data or {}, self.run.values)
        )
        for name, archive in found.items():
            self.run.survey.use_archive(self.run.fleet.guest(name), archive.volid)
            logger.info(f"--> Restore: {name} from Proxmox's backup of {proof.shown(archive.time)}")
        return found

    def session(self, guest: Guest) -> Callable[[], Any] | None:
        """What opens a channel to a guest that runs and stays."""
        run = self.run
        replaced = guest.name in run.options.names("replace")
        host: Any = context.state.inventory.get_host(guest.name)
        if replaced or host is None or run.survey.state_of(guest) != "running":
            return None

        def channel() -> Any:
            host.connector.reach()
            return host.connector.client.get_transport().open_session()

        return channel

    # ------------------------------------------------------ what roles are told

    def state(self, here: Here) -> None:
        """See hearth.role.here.Restoring."""
        pieces = self.proven.pieces(here.guest.name, here.role.name)
        archive = self.archives.get(here.guest.name)
        if archive and pieces and all(datetime.fromisoformat(each.made) < archive.time for each in pieces):
            here.host.noop(
                f"Proxmox's backup of {here.guest.name} is newer than the state of {here.role.name}"
            )
        elif pieces:
            title = here.role.name.replace("_", " ")
            brought(name=f"Bring back the state of {title}", role=here.role.name)

    def done(self, here: Here) -> None:
        """See hearth.role.here.Restoring."""
        reached(name=f"Note that {here.role.name.replace('_', ' ')} is done", role=here.role.name)

    @property
    def expected(self) -> set[tuple[str, str]]:
        """What is to be done: the roles of each guest."""
        roles = self.run.roles
        return {(each.name, role) for each in self.guests for role in each.roles if roles[role].deployer}

    def record(self, found: list[Verdict]) -> record.Record:
        """What is kept of it."""
        brought = sorted(self.run.brought_back)
        return record.Record(
            source=str(self.proven.snapshot) if self.wanted else "",
            events=tuple(self.timeline.events),
            pieces=tuple((g, piece) for g, role in brought for piece in self.proven.pieces(g, role)),
            archives={name: (each.volid, each.time) for name, each in self.archives.items()},
            missing=self.proven.missing if self.wanted else (),
            unfinished=tuple(self.timeline.unfinished(self.expected if self.wanted else ())),
            verified=self.verified,
            verdicts=tuple(found),
        )


_current: list[Restore] = []


def current() -> Restore:
    """The restore of this process."""
    run = runs.current()
    with _lock:
        if not _current or _current[0].run is not run:
            _current[:] = [Restore(run)]
        return _current[0]


def prove() -> None:
    """Find the backup and read all that will be needed of it. Nothing was touched when this fails.

    Raises:
        HearthError: there is no backup that can be used, or a named guest is none of the fleet.
    """
    restore = current()
    # What follows plans as if there were no others: no image, no rule of a wall for a guest that is not made.
    restore.run.survey.only = frozenset(guest.name for guest in restore.guests)
    with _lock:
        if restore.wanted:
            _ = restore.proven
        _ = restore.archives


def concerns() -> bool:
    """Whether this host takes part: nodes, and the guests that are restored."""
    run = runs.current()
    return not run.is_guest(context.host.name) or context.host.name in {
        guest.name for guest in current().guests
    }


@contextmanager
def states() -> Iterator[None]:
    """Roles that are deployed inside get their state back."""
    run, restore = runs.current(), current()
    run.restoring = restore if restore.wanted else None
    try:
        yield
    finally:
        run.restoring = None


def guests_there() -> None:
    """Note that this guest is there."""
    if runs.current().is_guest(context.host.name):
        reached(name="Note that the guest is there", role="", what="guest is there")


def verify() -> None:
    """Verify the restored guests, and print the timeline against the objectives. On one host for all."""
    run = runs.current()
    hosts = [host.name for host in context.state.activated_hosts]
    # A node rather than a guest: it is the likelier one to be left in the end.
    first = min(hosts, key=lambda name: (run.is_guest(name), name), default="")
    if context.host.name == first:
        verified(name="Verify what was restored, and print the timeline")


@operation(is_idempotent=False)
def brought(role: str) -> Generator[FunctionCommand, None, None]:
    """Send a role's state to its guest, which puts it in place once all of it has arrived."""
    yield FunctionCommand(_bring, (role,), {})


@operation(is_idempotent=False)
def reached(role: str, what: str = "") -> Generator[FunctionCommand, None, None]:
    """Note the time."""
    yield FunctionCommand(_reach, (role, what), {})


@operation(is_idempotent=False)
def verified() -> Generator[FunctionCommand, None, None]:
    """Run tests/verify for the guests that were restored; then what took how long."""
    yield FunctionCommand(_verify, (), {})


@told
def _bring(state: Any, host: Any, role: str) -> None:
    restore = current()
    host.connector.reach()
    session = host.connector.client.get_transport().open_session
    try:
        said = send(restore.proven, host.name, role, session, f"{COMMAND} restore {role}")
    except ResticError as error:
        raise HearthError(
            f"restore {role} on {host.name}",
            f"{restore.proven.snapshot} could no longer be read: {error}",
            "nothing was changed there; run again",
        ) from None
    for line in said.splitlines():
        host.log(line)
    restore.run.brought_back.add((host.name, role))
    restore.timeline.mark(f"state of {role} is back", host.name)


@told
def _reach(state: Any, host: Any, role: str, what: str) -> None:
    current().timeline.mark(what or f"{role} is done", host.name, role)


@told
def _verify(state: Any, host: Any) -> None:
    try:
        _verified(current())
    finally:
        report()


def _verified(restore: Restore) -> None:
    names = [guest.name for guest in restore.guests if not guest.appliance]
    if not names:
        return
    restore.verified = False
    if importlib.util.find_spec("pytest") is None:
        raise HearthError(
            "verify what was restored",
            "pytest is not installed on this machine",
            "pip install -r requirements-dev.txt; pytest tests/verify",
        )
    # Tests have their guest's name in their own; for the whole home all of them run.
    only = ["-k", " or ".join(names)] if len(restore.guests) < len(restore.run.fleet.guests) else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "tests/verify", *only],
        cwd=restore.run.project,
        env={**restore.run.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    restore.timeline.mark("verified" if done.returncode == 0 else "verification FAILED")
    if done.returncode:
        raise HearthError(
            "verify what was restored", done.stdout[-3000:].strip(), "pytest tests/verify shows it again"
        )
    restore.verified = True


def report() -> list[Verdict]:
    """Print the timeline and how it stands against the objectives, and keep both in a file; the latter."""
    restore = current()
    for line in restore.timeline.lines():
        logger.info(f"    {line}")
    found = []
    if restore.wanted:
        limits = objectives(restore.run.values)
        now = datetime.now(UTC)
        found = verdicts(restore.timeline, restore.proven, limits, now, restore.expected)
    for verdict in found:
        logger.info(f"--> {verdict}")
    record.write(restore.run.state_dir, restore.record(found))
    return found

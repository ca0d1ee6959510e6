"""The guest itself: created, changed in place, started; or destroyed, where teardown.py names it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra import context
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.proxmox.plan import check


def present() -> None:
    """Have this guest as the fleet file says; nothing on nodes.

    Raises:
        HearthError: something is refused for any guest of this run; nothing was changed then.
    """
    named = sorted(runs.current().options.names("destroy"))
    if named:
        raise HearthError(f"destroy {', '.join(named)}", "deploy.py destroys nothing", "run teardown.py")
    if _is_guest():
        _check_all()
        as_declared(name="Guest as the fleet file says")


def restart_last() -> None:
    """Restart this guest at the very end, where the run passes through it and a change needs the restart."""
    if _is_guest():
        restarted_last(name="Restart of a guest that this run passes through")


def gone() -> None:
    """Destroy this guest where the command line names it (--data destroy=NAME); nothing on others.

    Raises:
        HearthError: none is named, or a named one is no guest of the fleet, protected, or not ours.
    """
    run = runs.current()
    run.known_names()
    named = run.options.names("destroy")
    if not named:
        raise HearthError("tear down", "no guest is named", "name them: --data destroy=NAME[,NAME]")
    if context.host.name in named:
        _check_all()
        destroyed(name="Guest destroyed")


@operation()
def as_declared() -> Generator[FunctionCommand, None, None]:
    """Create, change or start this guest, as its plan says, and wait until SSH answers."""
    run = runs.current()
    guest = run.fleet.guest(context.host.name)
    plan = run.survey.plan(guest)
    if not plan.does_something:
        context.host.noop("nothing to change")
        return
    yield FunctionCommand(_converge, (), {})
    if not guest.appliance:
        yield FunctionCommand(_wait_for_ssh, (), {})


@operation()
def restarted_last() -> Generator[FunctionCommand, None, None]:
    """Restart this guest, where its restart was put off until here."""
    run = runs.current()
    guest = run.fleet.guest(context.host.name)
    if run.restarts_last(guest):
        yield FunctionCommand(_restart, (), {})


@operation()
def destroyed() -> Generator[FunctionCommand, None, None]:
    """Destroy this guest with its disks; nothing where it is absent already."""
    run = runs.current()
    plan = run.survey.plan(run.fleet.guest(context.host.name))
    if plan.action == "destroy":
        yield FunctionCommand(_destroy, (), {})


@told
def _converge(state: Any, host: Any) -> None:
    run = runs.current()
    host.connector.close()
    run.convergence.converge(run.fleet.guest(host.name), host.log)


@told
def _wait_for_ssh(state: Any, host: Any) -> None:
    host.connector.wait_until_created()


@told
def _restart(state: Any, host: Any) -> None:
    run = runs.current()
    host.log("this run passes through the guest: it is restarted now, and the line may break")
    run.convergence.restart(run.fleet.guest(host.name), host.log)


@told
def _destroy(state: Any, host: Any) -> None:
    run = runs.current()
    run.convergence.destroy(run.fleet.guest(host.name), host.log)


def _is_guest() -> bool:
    return runs.current().is_guest(context.host.name)


def _check_all() -> None:
    # All refusals of all guests at once, before any operation is even planned.
    run = runs.current()
    run.known_names()
    guests = run.survey.choose(host.name for host in context.state.activated_hosts)
    check([run.survey.plan(guest) for guest in guests])
    for guest in guests:
        run.refuse_path(guest)

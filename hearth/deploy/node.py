"""The node itself: what it must hold before its guests can be made, its firewall once they are there, and its
place in the tailnet, and the tailnet's policy, once somebody coordinates it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra import context
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy import node_tailnet
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.tailnet.policy import APPLIED


def prepare() -> None:
    """Have every template and image on this node that a guest to be made there needs. Nothing on guests."""
    run = runs.current()
    host = context.host
    if run.is_guest(host.name):
        return
    # What --limit leaves out, or cannot be reached, needs no images. The guests' own files may come later.
    run.survey.choose(host.name for host in context.state.activated_hosts)
    fetched(name="Templates and images for new guests")


def firewall() -> None:
    """Have Proxmox's firewall as the flows want it, where the fleet file says so.

    On a guest nothing, unless this run leaves the nodes out (`--limit`): then it is the guest's own part.
    Proxmox forgets a guest's rules with the guest, and one that was made anew would stand open.

    Raises:
        HearthError: a value of group_data means nothing, or the node cannot be asked. Nothing was changed.
    """
    run = runs.current()
    host = context.host.name
    if run.fleet.firewall and not (run.is_guest(host) and _has_nodes()):
        run.walls.plan(host)
        walled(name="Firewall as the flows want it")


def _has_nodes() -> bool:
    nodes = {node.name for node in runs.current().fleet.nodes}
    return any(host.name in nodes for host in context.state.activated_hosts)


def backups() -> None:
    """Have Proxmox's backup jobs as the fleet file says, where it has the section. Nothing on guests.

    Raises:
        HearthError: the node cannot be asked. Nothing was changed.
    """
    run = runs.current()
    if not run.is_guest(context.host.name) and run.fleet.backup is not None:
        run.backup_jobs.plan(context.host.name)
        scheduled(name="Backup jobs as the fleet file says")


def tailnet() -> None:
    """Have this node in the tailnet, where the fleet file asks for it. Nothing on guests.

    Raises:
        HearthError: a value of group_data means nothing. Nothing was changed.
    """
    run = runs.current()
    if not run.is_guest(context.host.name) and run.tailnet_nodes.asks(context.host.name):
        node_tailnet.prepared(name="Have Tailscale on the node")
        node_tailnet.joined(name="Join the tailnet")
        node_tailnet.settled(name="Keep Tailscale's settings")


def policy() -> None:
    """Have the tailnet's policy as the admin's file says, unless others wrote it; the first node is for all.

    Raises:
        HearthError: the file cannot be used. Nothing was changed.
    """
    run = runs.current()
    if not run.is_guest(context.host.name) and run.tailnet_policy.of(context.host.name):
        ruled(name="Policy of the tailnet")


@operation()
def fetched() -> Generator[FunctionCommand, None, None]:
    """Let the node download what is missing: one GET of its storage where a guest will be made, else none."""
    run = runs.current()
    for image in run.convergence.missing_images(context.host.name):
        yield FunctionCommand(_fetch, (image.name,), {})


@told
def _fetch(state: Any, host: Any, image: str) -> None:
    runs.current().convergence.fetch_image(host.name, image, host.log)


@operation()
def walled() -> Generator[FunctionCommand, None, None]:
    """Write what differs and switch the firewall on, behind its dead-man switch."""
    if runs.current().walls.plan(context.host.name).does_something:
        yield FunctionCommand(_wall, (), {})
    else:
        context.host.noop("nothing to change")


@told
def _wall(state: Any, host: Any) -> None:
    runs.current().walls.converge(host.name, host.log)


@operation()
def ruled() -> Generator[FunctionCommand, None, None]:
    """Apply the policy, where it is the file that is newer, or nobody can tell yet."""
    found = runs.current().tailnet_policy.standing
    if isinstance(found, HearthError) or found in APPLIED:
        yield FunctionCommand(_rule, (), {})
    else:
        context.host.noop(found.value if found else "there is no credential to look at it with")


@told
def _rule(state: Any, host: Any) -> None:
    runs.current().tailnet_policy.converge(host.log)


@operation()
def scheduled() -> Generator[FunctionCommand, None, None]:
    """Make, change and remove backup jobs of ours; those of others stay."""
    if runs.current().backup_jobs.plan(context.host.name).steps:
        yield FunctionCommand(_schedule, (), {})
    else:
        context.host.noop("nothing to change")


@told
def _schedule(state: Any, host: Any) -> None:
    runs.current().backup_jobs.converge(host.name, host.log)

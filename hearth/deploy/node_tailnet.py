"""The steps that bring a node itself into the tailnet, through its SSH wrapper."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from pyinfra import context
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.ops import tailscale
from hearth.tailnet.membership import UNDECIDED, Membership, let_in, must_be_in
from hearth.tailnet.on_node import Standing, Wanted, unjoined, unprepared, unsettled

Steps = Generator[FunctionCommand, None, None]


@operation()
def prepared() -> Steps:
    """Have Tailscale run on this node, able to reach the coordination server."""
    yield from _where(unprepared, _prepare)


@operation()
def joined() -> Steps:
    """Have this node in the tailnet under its own name; one that is there is not joined again."""
    yield from _where(unjoined, _join)


@operation()
def settled() -> Steps:
    """Have its settings as they should be, whoever changed them, and it up."""
    yield from _where(unsettled, _settle)


def _where(lacks: Callable[[Standing, Wanted], bool], step: Callable[..., bool]) -> Steps:
    """The step, where the node lacks something, or where nobody can tell."""
    nodes, name = runs.current().tailnet_nodes, context.host.name
    there = nodes.standing(name)
    if isinstance(there, HearthError) or lacks(there, nodes.wanted(name)):
        yield FunctionCommand(step, (), {})
    else:
        context.host.noop("as wanted")


@told
def _prepare(state: Any, host: Any) -> None:
    nodes = runs.current().tailnet_nodes
    wanted = nodes.wanted(host.name)
    if unprepared(nodes.now(host.name), wanted):
        nodes.shell(host.name).install(wanted)
        nodes.changed(host.name)


@told
def _join(state: Any, host: Any) -> None:
    nodes = runs.current().tailnet_nodes
    entry = nodes.wanted(host.name).entry
    now = _decided(lambda: nodes.now(host.name).now, entry.within)
    if not now.joined:
        shell = nodes.shell(host.name)
        let_in(tailscale.api_of_run(), entry, lambda key: shell.join(entry, key), host.log)
        now = nodes.now(host.name).now
    must_be_in(host.name, now, entry)


def _decided(ask: Callable[[], Membership], within: int) -> Membership:
    """How the node stands, once its tailscaled knows: `prepared` may just have started it.

    Args:
        ask: asks it. within: seconds.
    """
    end = time.monotonic() + within
    while (now := ask()).backend == UNDECIDED and time.monotonic() < end:
        time.sleep(1)
    return now


@told
def _settle(state: Any, host: Any) -> None:
    nodes = runs.current().tailnet_nodes
    wanted = nodes.wanted(host.name)
    if unsettled(nodes.now(host.name), wanted):
        nodes.shell(host.name).settle(wanted.entry)
        nodes.changed(host.name)

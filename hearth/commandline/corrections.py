"""What pyinfra 3.10's command line must do otherwise; each correction with its reason.

pyinfra has no hooks for these, so its module globals are replaced, once, from config.py. Pinned to 3.10.x.
"""

from __future__ import annotations

import heapq
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

import click
import gevent  # type: ignore[import-untyped]
from pyinfra import logger
from pyinfra.api import facts
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra_cli import cli, exceptions
from pyinfra_cli.util import PYTHON_CODES

from hearth.commandline import show
from hearth.errors import HearthError

if TYPE_CHECKING:
    from hearth.run import Run

INTERRUPTED = 130  # as a shell has it: 128 and the number of SIGINT


def apply(run: Run) -> None:
    """Install every correction for this run."""
    _inventory_is_a_folder(run)
    _errors_without_noise()
    _empty_is_an_error(run)
    _interrupted_is_not_success(run)
    _prompt_tells_the_truth(run)
    _exit_code_tells_the_truth(run)
    _plan_is_whole(run)
    _roles_in_order(run)
    _facts_are_marked()


def _inventory_is_a_folder(run: Run) -> None:
    # pyinfra opens the inventory as a file, but looks here for compiled code first.
    file = run.project / "inventory" / "__init__.py"
    code = compile(file.read_text(encoding="utf-8"), str(file), "exec")
    folder = str(run.project / "inventory")
    for typed in ("inventory", "inventory/", "./inventory", "./inventory/", folder, folder + "/"):
        PYTHON_CODES[typed] = code


def _errors_without_noise() -> None:
    # "pyinfra error in .../loader.py line 80: cannot load ..." names our source, not the admin's file.
    theirs = exceptions.WrappedError.show

    def shown(self: Any, file: Any = None) -> None:
        nobody_left = str(self.exception) == "No hosts remaining!"  # State.fail_hosts, below a frame of ours
        if isinstance(self.exception, HearthError) or nobody_left:
            logger.error(f"--> {click.style('error', 'red', bold=True)}: {self.exception}")
        else:
            theirs(self, file)

    exceptions.WrappedError.show = shown
    # gevent prints a traceback for what ends a greenlet; pyinfra reports it once more, in one line.
    hub = gevent.get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)
    # paramiko logs one for a connection that breaks, and Python prints what nobody handles.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())


def _empty_is_an_error(run: Run) -> None:
    # pyinfra exits 0 when nothing was loaded or --limit matched nothing.
    theirs = cli._apply_inventory_exclude

    def limited(inventory: Any, initial: Any, exclude: Any) -> Any:
        hosts = theirs(inventory, initial, exclude)
        if run.options.looks_only and not run.options.limited:
            return hosts
        chosen = list(inventory) if hosts is None else hosts
        ours = [host for host in chosen if "unmanaged" not in host.groups]
        if not ours:
            raise HearthError(
                "start a run",
                "no host is left" if run.options.limited else "the inventory holds no host",
                "see the names and groups with: pyinfra inventory debug-inventory",
            )
        return ours

    cli._apply_inventory_exclude = limited


def _interrupted_is_not_success(run: Run) -> None:
    # pyinfra's own handler exits 0. Where Python ignores exceptions (__del__, callbacks) ours is lost: so it
    # is noted too, no further step begins, and the exit code is still true.
    def stopped(*_: object) -> None:
        run.interrupted = True
        sys.unraisablehook = lambda _: None  # it would print what is being ended, with a traceback
        click.echo("Interrupted: what was done stays; run again to converge.", err=True)
        sys.exit(INTERRUPTED)

    signal.signal(signal.SIGINT, stopped)


def _prompt_tells_the_truth(run: Run) -> None:
    # Any answer but Enter ends a pyinfra run with exit 0; without a terminal it ends with a traceback.
    theirs = cli._do_confirm

    def confirm(message: str) -> bool:
        if not sys.stdin.isatty():
            raise HearthError(
                "go on", f"{message.rstrip('.')}; there is no terminal to ask at", "use -y or --dry"
            )
        if not theirs(message):
            raise HearthError(
                "go on", "you did not confirm; nothing more was changed", "press Enter to confirm"
            )
        return True

    cli._do_confirm = confirm


def _exit_code_tells_the_truth(run: Run) -> None:
    # pyinfra exits 0 after failing operations under --no-wait, and after --json that applied nothing.
    execute = cli.run_ops

    def run_ops(state: Any, serial: bool = False, no_wait: bool = False) -> None:
        run.start_executing()
        try:
            execute(state, serial=serial, no_wait=no_wait)
        finally:
            state.failed_hosts.update(host for host, results in state.results.items() if results.error_ops)

    def leave() -> None:
        failed = cli.ctx_state.isset() and bool(getattr(cli.state, "failed_hosts", ()))
        if run.options.json and not run.executing and not run.options.dry and not run.options.looks_only:
            click.echo("Nothing was applied: --json does not ask. Use -y to apply, --dry to plan.", err=True)
            failed = True
        sys.exit(INTERRUPTED if run.interrupted else 1 if failed else 0)

    cli.run_ops = run_ops
    cli._exit = leave


def _plan_is_whole(run: Run) -> None:
    # pyinfra cuts the list of hosts at 48 characters and knows nothing of guests.
    cli.print_meta = lambda state: show.plan(run, state)
    cli.print_run_json = lambda state, dry: show.plan_json(run, state, dry)
    results = cli.print_results

    def print_results(state: Any) -> None:
        results(state)
        show.summary(state)

    cli.print_results = print_results


def _roles_in_order(run: Run) -> None:
    # pyinfra sorts what is ready by source line, batch by batch: a role of one guest would run before another
    # guest's role that it needs. Here the role's place in the order of needs comes first.
    def get_op_order(state: State) -> list[str]:
        waiting, after = _dependencies(state)

        def rank(op_hash: str) -> tuple[Any, ...]:
            order = state.op_meta[op_hash].op_order
            return (*order[:2], run.stage_of.get(op_hash, -1), *order[2:])

        ready = [(rank(op), op) for op, count in waiting.items() if not count]
        heapq.heapify(ready)
        ordered = []
        while ready:
            _, op = heapq.heappop(ready)
            ordered.append(op)
            for follower in after[op]:
                waiting[follower] -= 1
                if not waiting[follower]:
                    heapq.heappush(ready, (rank(follower), follower))
        if len(ordered) < len(waiting):
            raise HearthError(
                "find an order for the operations",
                f"{len(waiting) - len(ordered)} of them wait for each other on different hosts",
                "do not call operations in another order on another host: give them `_if`",
            )
        return ordered

    State.get_op_order = get_op_order  # type: ignore[method-assign]


def _dependencies(state: State) -> tuple[dict[str, int], dict[str, set[str]]]:
    after: dict[str, set[str]] = {op: set() for host in state.inventory for op in host.op_hash_order}
    for host in state.inventory:
        for before, op in zip(host.op_hash_order, host.op_hash_order[1:], strict=False):
            after[before].add(op)
    waiting = dict.fromkeys(after, 0)
    for followers in after.values():
        for op in followers:
            waiting[op] += 1
    return waiting, after


def _facts_are_marked() -> None:
    # The connector cannot tell a fact's command from an operation's; only facts may be answered from memory.
    theirs = facts._get_fact

    def get_fact(state: Any, host: Any, *args: Any, **kwargs: Any) -> Any:
        memory = getattr(host.connector, "memory", None)
        if memory is None:
            return theirs(state, host, *args, **kwargs)
        memory.asking_fact += 1
        try:
            return theirs(state, host, *args, **kwargs)
        finally:
            memory.asking_fact -= 1

    facts._get_fact = get_fact

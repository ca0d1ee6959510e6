"""The plan, whole: every guest with its changes field by field, and every operation on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from pyinfra import logger
from pyinfra_cli import prints

if TYPE_CHECKING:
    from hearth.run import Run

MARKS = {"change": ("+", "green"), "conditional": ("~", "yellow"), "none": ("=", "white")}


def plan(run: Run, state: Any) -> None:
    """Print what this run would do, host by host: `+` changes, `~` changes where its condition holds."""
    hosts = [host for host in state.inventory if host in state.activated_hosts]
    for host in hosts:
        _host(run, state, host)
    changing = sum(1 for host in hosts for _, kind in _operations(state, host) if kind == "change")
    logger.info(f"--> Plan: {_count(changing, 'operation')} to change on {_count(len(hosts), 'host')}")


def _host(run: Run, state: Any, host: Any) -> None:
    operations = list(_operations(state, host))
    logger.info(f"{host.print_prefix}{run.describe(host.name)}")
    for line in run.plan_lines(host.name):
        logger.info(f"    {line}")
    quiet = [name for name, kind in operations if kind == "none"]
    for name, kind in operations:
        if kind != "none" or run.options.verbosity:
            mark, colour = MARKS[kind]
            logger.info(f"    {click.style(mark, colour)} {name}")
    if quiet:
        logger.info(f"    {_count(len(quiet), 'operation')} with nothing to do")


def _operations(state: Any, host: Any) -> Iterator[tuple[str, str]]:
    for op_hash in state.get_op_order():
        if op_hash not in state.ops[host]:
            continue
        data = state.get_op_data_for_host(host, op_hash)
        if not data.operation_meta._maybe_is_change:
            kind = "none"
        else:
            kind = "conditional" if data.global_arguments["_if"] else "change"
        yield prints.pretty_op_name(state.op_meta[op_hash]), kind


def plan_json(run: Run, state: Any, dry: bool) -> None:
    """Print the plan, the guests' changes and (after a run) the results as one JSON object on stdout."""
    hosts = [host.name for host in state.inventory if host in state.activated_hosts]
    payload = {
        "plan": prints.build_plan_json(state),
        "guests": {name: run.plan_json(name) for name in hosts if run.is_guest(name)},
        "results": None if dry else prints.build_results_json(state),
    }
    prints.print_json(payload)


def summary(state: Any) -> None:
    """Print, after a run, what changed and what was left alone, host by host and in all."""
    total = 0
    for host in state.inventory:
        if host not in state.activated_hosts:
            continue
        metas = [data.operation_meta for data in state.ops[host].values()]
        changed = sum(1 for meta in metas if meta.is_complete() and meta.did_succeed() and meta.did_change())
        failed = sum(1 for meta in metas if meta.is_complete() and not meta.did_succeed())
        left = len(metas) - changed - failed
        total += changed
        failures = f", {failed} failed" if failed else ""
        logger.info(f"{host.print_prefix}{changed} changed, {left} left alone{failures}")
    unreached = sorted(host.name for host in state.failed_hosts)
    if unreached:
        logger.error(f"--> Not all is well: failed on {', '.join(unreached)}")
    logger.info(f"--> {_count(total, 'change')} made")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"

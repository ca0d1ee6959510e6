"""The plan, whole: every guest with its changes field by field, and every operation on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from pyinfra import logger
from pyinfra_cli import prints

from hearth.ops.noted import noted

if TYPE_CHECKING:
    from hearth.proxmox.desired import Intent
    from hearth.run import Run

LOST = "it stopped answering while it was looked at"
MARKS = {"change": ("+", "green"), "conditional": ("~", "yellow"), "none": ("=", "white")}


def plan(run: Run, state: Any) -> None:
    """Print what this run would do, host by host: `+` changes, `~` changes where its condition holds."""
    hosts = [host for host in state.inventory if host in state.activated_hosts]
    order = state.get_op_order()  # sorts all operations: once a plan, not once a host
    operations = {host: list(_operations(state, order, host)) for host in hosts}
    for host in hosts:
        _host(run, host, operations[host])
    changing = sum(1 for found in operations.values() for _, kind in found if kind == "change")
    logger.info(f"--> Plan: {_count(changing, 'operation')} to change on {_count(len(hosts), 'host')}")


def _host(run: Run, host: Any, operations: list[tuple[str, str]]) -> None:
    logger.info(f"{host.print_prefix}{describe(run, host.name)}")
    for line in plan_lines(run, host.name):
        logger.info(f"    {line}")
    quiet = [name for name, kind in operations if kind == "none"]
    for name, kind in operations:
        if kind != "none" or run.options.verbosity:
            mark, colour = MARKS[kind]
            logger.info(f"    {click.style(mark, colour)} {name}")
    if quiet:
        logger.info(f"    {_count(len(quiet), 'operation')} with nothing to do")


def describe(run: Run, name: str) -> str:
    """A host in a few words: what it is, where, and what state it is in."""
    if not run.is_guest(name):
        return f"node at {run.fleet.node(name).address}"
    plan = run.survey.plan(run.fleet.guest(name))
    guest = plan.intent.guest
    kind = "container" if guest.kind == "lxc" else "VM"
    return f"{kind} {guest.vmid} on {plan.intent.node}, {guest.address or 'no address'}: {plan.state}"


def plan_lines(run: Run, name: str) -> Iterator[str]:
    """What happens to the guest or the firewall itself, field by field, and what the plan cannot know."""
    if name in run.walls.planned:
        yield from run.walls.planned[name].lines()
    if not run.is_guest(name):
        if name in run.backup_jobs.planned:
            yield from run.backup_jobs.planned[name].lines()
        yield from _unknown(run, name)
        return
    plan = run.survey.plan(run.fleet.guest(name))
    if plan.action in ("create", "replace"):
        yield f"{plan.action}: {', '.join(_size(plan.intent))}"
    elif plan.action in ("adopt", "destroy"):
        yield f"{plan.action}: this guest"
    for change in plan.changes:
        yield f"{change}{', waiting for it' if change.pending else ''}"
    if plan.starts and plan.state == "stopped":
        yield "start; its contents are unknown until it runs: the operations below assume a fresh one"
    if plan.restarts:
        yield "restart" + (", at the very end: this run passes through it" if name in run.on_path else "")


def _unknown(run: Run, node: str) -> Iterator[str]:
    yield from run.tailnet_nodes.lines(node)
    yield from run.tailnet_policy.lines(node)


def _size(intent: Intent) -> Iterator[str]:
    guest = intent.guest
    if guest.cores:
        yield _count(guest.cores, "core")
    if guest.memory:
        yield f"{guest.memory} MiB memory"
    if guest.disk:
        yield f"{guest.disk / 1024:g} GiB disk on {intent.storage}"
    yield f"from Proxmox's backup {intent.archive}" if intent.archive else f"from image {guest.image}"


def _operations(state: Any, order: list[str], host: Any) -> Iterator[tuple[str, str]]:
    for op_hash, kind in _kinds(state, order, host):
        says = noted(host, op_hash).says if kind != "none" else ""
        yield f"{prints.pretty_op_name(state.op_meta[op_hash])}{says and f': {says}'}", kind


def _kinds(state: Any, order: list[str], host: Any) -> Iterator[tuple[str, str]]:
    """A host's operations, as hashes, and what each would do: "none", "conditional" or "change"."""
    for op_hash in order:
        if op_hash not in state.ops[host]:
            continue
        data = state.get_op_data_for_host(host, op_hash)
        if not data.operation_meta._maybe_is_change:
            yield op_hash, "none"
        else:
            yield op_hash, "conditional" if data.global_arguments["_if"] else "change"


def plan_json(run: Run, state: Any, dry: bool) -> None:
    """Print the plan, the guests' changes and (after a run) the results as one JSON object on stdout."""
    active = [host for host in state.inventory if host in state.activated_hosts]
    hosts = [host.name for host in active]
    order = state.get_op_order()
    guests = [guest for guest in run.fleet.guests if guest.name in hosts]
    payload = {
        "plan": prints.build_plan_json(state),
        "guests": {guest.name: run.survey.plan(guest).to_json() for guest in guests},
        "unknown": {name: lines for name in hosts if (lines := list(_unknown(run, name)))},
        "hosts": {host.name: list(_steps(state, order, host)) for host in active},
        "unreached": {**{host.name: LOST for host in state.failed_hosts}, **run.unreached},
        "firewall": {node: wall.to_json() for node, wall in run.walls.planned.items()},
        "backup_jobs": {node: jobs.to_json() for node, jobs in run.backup_jobs.planned.items()},
        "results": None if dry else prints.build_results_json(state),
    }
    prints.print_json(payload)


def _steps(state: Any, order: list[str], host: Any) -> Iterator[dict[str, Any]]:
    """The operations that would change a host, each with what it found to be otherwise."""
    for op_hash, kind in _kinds(state, order, host):
        if kind == "none":
            continue
        notes = noted(host, op_hash)
        yield {
            "operation": prints.pretty_op_name(state.op_meta[op_hash]),
            "kind": "follows" if kind == "change" and notes.follows else kind,
            "found": [lack.to_json() for lack in notes.lacks],
            **({"says": notes.says} if notes.says else {}),
        }


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

"""Files, services and walls: what `pyinfra inventory deploy.py --dry` would change; the same plan."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hearth.drift.finding import Collected, Finding, Trouble
from hearth.errors import HearthError

PATIENCE = 1800.0  # seconds for all guests
SAID = 3  # lines of a failed run that the admin sees


def dry_run(
    project: Path, environ: Mapping[str, str], without: Iterable[str] = (), patience: float = PATIENCE
) -> dict[str, Any]:
    """The plan of a deploy, as `--dry --json` prints it.

    Args:
        project: the folder with deploy.py.
        environ: its environment.
        without: guests that it must leave out, for it would refuse to begin.
        patience: seconds that it may take.

    Raises:
        HearthError: it could not be made; in its own words.
    """
    apart = [word for name in sorted(without) for word in ("--exclude", name)]
    command = [sys.executable, "-m", "pyinfra", "inventory", "deploy.py", "--dry", "--json", *apart]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=patience,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HearthError("look into the guests", f"the dry run took longer than {patience:.0f} s") from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise HearthError("look into the guests", _last_words(done.stderr)) from None
    return dict(found)


def _last_words(text: str) -> str:
    plain = click.unstyle(text)
    lines = [line.strip().removeprefix("--> ") for line in plain.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or line.startswith("cannot")]
    return "; ".join((errors or lines)[-SAID:]) or "the dry run said nothing"


def of_plan(plan: Mapping[str, Any], inside: Collection[str], nodes: Collection[str]) -> Collected:
    """What of a plan is drift: pure.

    Args:
        plan: what `dry_run` gave.
        inside: the guests that run: of others a plan assumes that they are empty.
        nodes: the fleet's nodes.
    """
    into = Collected()
    for name, steps in plan["hosts"].items():
        if name in inside or name in nodes:
            into.findings += [found for step in steps for found in _of_step(name, step, nodes)]
    for node, wall in plan["firewall"].items():
        into.findings += _of_wall(node, wall)
        into.notes += [Finding(node, "foreign", "", "", text) for text in wall["foreign"]]
    for node, jobs in plan.get("backup_jobs", {}).items():
        into.findings += [
            Finding(node, "backup", "job", "", f"a deploy would {step}") for step in jobs["steps"]
        ]
        into.notes += [Finding(node, "foreign", "backup job", "", name) for name in jobs["foreign"]]
    into.troubles += [Trouble(name, reason) for name, reason in plan["unreached"].items()]
    into.troubles += [Trouble(name, line) for name, lines in plan["unknown"].items() for line in lines]
    return into


# The operations of hearth/deploy whose findings other parts of the plan tell, field by field.
ELSEWHERE = (
    "Guest as the fleet file says",
    "Restart of a guest that this run passes through",
    "Firewall as the flows want it",
    "Backup jobs as the fleet file says",
)


def _of_step(name: str, step: Mapping[str, Any], nodes: Collection[str]) -> Iterator[Finding]:
    if step["kind"] != "change" or step["operation"] in ELSEWHERE:
        return
    for lack in step["found"]:
        yield Finding(name, lack["kind"], lack["thing"], lack["field"], lack["now"], lack["wanted"])
    if not step["found"]:
        yield Finding(name, "step", step["operation"], "", "a deploy would do this")


def _of_wall(node: str, wall: Mapping[str, Any]) -> Iterator[Finding]:
    if wall["state"] != "on":
        yield Finding(node, "firewall", f"of {wall['cluster']}", "state", wall["state"], "on")
    for step in wall["steps"]:
        kind, _, name = step["place"].partition("/")
        subject = name if kind in ("guest", "node") and name else node
        yield _of_wall_step(subject, step)


def _of_wall_step(subject: str, step: Mapping[str, Any]) -> Finding:
    place, what = step["place"], step["what"]
    if step["kind"] in ("option", "alias"):
        thing = place if step["kind"] == "option" else f"alias in {place}"
        return Finding(subject, "firewall", thing, what, step["old"] or "none", step["new"] or "none")
    there = step["verb"] in ("remove", "unmake")
    states = ("there", "not there") if there else (step["old"] or "missing", "there")
    thing = {"ipset": f"set {place}", "entry": f"set {place}", "group": place}.get(step["kind"], place)
    return Finding(subject, "firewall", thing, what, *states)

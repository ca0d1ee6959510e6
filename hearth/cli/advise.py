"""`hearth advise`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from hearth import run as runs
from hearth.advise.decide import ENOUGH, Advice, together, written
from hearth.advise.lines import line_of
from hearth.advise.measured import Measured, measure
from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.monitored import place_of
from hearth.options import Options
from hearth.run import Run

ROLE, PORT = "monitoring", "web"
DAYS = 7


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object; docs/scaling.md describes it.")
@click.pass_obj
def advise(home: Home, as_json: bool) -> int:
    """Say which guests are too small or too large, from a week of measurements, and which line to change.

    Changes nothing: whether it is worth it, you decide. Exits 0 also where there is advice.
    """
    run = runs.begin(home.project, Options(dry=True), home.environ)
    place = place_of(run, ROLE, PORT, "Prometheus")
    if place is None:
        raise HearthError("advise", "no guest has the role monitoring", "give it to one, deploy, wait a week")
    seen = measure(place.ask, DAYS)
    found = together(run.fleet.guests, seen)
    short = _too_short(run, seen)
    if as_json:
        click.echo(
            json.dumps({"advice": [_json(run, one) for one in found], "not_measured": short}, indent=2)
        )
        return 0
    for line in lines(run, found, short):
        click.echo(line)
    return 0


def lines(run: Run, found: Iterable[Advice], short: dict[str, float]) -> Iterable[str]:
    """For people: what to change and where, then who was not measured for long enough."""
    any_advice = False
    for one in found:
        any_advice = True
        yield f"{one.guest}: {one.key} is {one.verdict}: {one.why}"
        yield f"    {_change(run, one)}"
    for name, days in short.items():
        yield f"{name}: measured for {days:.1f} of {DAYS} days: nothing is said of it yet"
    if not any_advice and not short:
        yield "every guest has the size that it needs"


def _change(run: Run, one: Advice) -> str:
    line = line_of(run.fleet_file, _guest(run, one), one.key)
    value = f"{one.key}: {written(one.key, one.better)}"
    if line.own:
        return f"{run.fleet_file.name}:{line.number}: {value}"
    add = f"add `{value}` to {one.guest}, which has the default of line {line.number}"
    return f"{run.fleet_file.name}:{line.at}: {add}"


def _json(run: Run, one: Advice) -> dict[str, Any]:
    line = line_of(run.fleet_file, _guest(run, one), one.key)
    return {
        **one.to_json(),
        "file": str(run.fleet_file),
        "line": line.number if line.own else line.at,
        "own": line.own,
        "text": f"{one.key}: {written(one.key, one.better)}",
    }


def _guest(run: Run, one: Advice) -> Guest:
    return next(guest for guest in run.fleet.guests if one.guest in (guest.group, guest.name))


def _too_short(run: Run, seen: dict[str, Measured]) -> dict[str, float]:
    return {
        guest.name: round(days, 1)
        for guest in run.fleet.guests
        if not guest.appliance and (days := seen[guest.name].days if guest.name in seen else 0.0) < ENOUGH
    }

"""`hearth outdated`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from hearth import run as runs
from hearth.doctor.examine import Home
from hearth.options import Options
from hearth.outdated.look import Row, code, look
from hearth.outdated.pins import Pin, pins
from hearth.outdated.sources import Web
from hearth.outdated.versions import is_newer
from hearth.run import Run

HEAD = ("NAME", "PINNED", "NEWEST", "WHERE")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list; docs/outdated.md describes it.")
@click.pass_obj
def outdated(home: Home, as_json: bool) -> int:
    """Compare the versions pinned in group_data, images and lock files with the newest ones. Changes nothing.

    Exits 0 when nothing is newer, 2 when something is, 1 when something could not be asked.
    """
    run = runs.begin(home.project, Options(dry=True), home.environ)
    rows = look(pins_of(run), Web())
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        for line in lines(rows):
            click.echo(line)
    return code(rows)


def pins_of(run: Run) -> list[Pin]:
    """Every pin of a project. Raises HearthError."""

    def aplinfo(node: str) -> list[dict[str, Any]]:
        return list(run.survey.api(node).get(f"/nodes/{node}/aplinfo") or [])

    return pins(run.values, run.fleet, run.project / "templates", aplinfo)


def lines(rows: Sequence[Row]) -> Iterable[str]:
    """For people: what is newer, then what could not be asked; one line where nothing is."""
    newer = [row for row in rows if row.outdated]
    if newer:
        cells = [HEAD, *(_cells(row) for row in newer)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
        for line in cells:
            yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        yield "To upgrade: change the pin and deploy (docs/upgrades.md)"
    for row in rows:
        if row.error:
            yield f"{click.style('not known', fg='red')} {row.pin.name} ({row.pin.version}): {row.error}"
    if not newer and not any(row.error for row in rows):
        yield f"{len(rows)} versions, none overtaken"


def _cells(row: Row) -> tuple[str, ...]:
    near = f" ({row.near} of this line)" if is_newer(row.near, row.pin.version) else ""
    return row.pin.name, row.pin.version, row.newest + near, row.pin.where

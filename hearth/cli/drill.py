"""`hearth drill`."""

from __future__ import annotations

import json

import click

from hearth import run as runs
from hearth.doctor.examine import Home
from hearth.drill.hold import Drill, How
from hearth.options import Options


@click.command()
@click.option(
    "--date", metavar="DATE", help="The newest backup of that day or before, as restore.py takes it."
)
@click.option("--accept-missing", is_flag=True, help="Go on although a state is in no backup.")
@click.option("--keep", is_flag=True, help="Leave the twin and its files, to look at them.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object; docs/drill.md has it.")
@click.pass_obj
def drill(home: Home, date: str | None, accept_missing: bool, keep: bool, as_json: bool) -> int:
    """Restore the home into a twin on this machine, from its real backups, and say how it went.

    Production is only looked at, the place of the copies only read. Needs root on Debian. Exits 0 when
    everything came back in time, 1 when a stage failed or an objective was missed, 130 after Ctrl-C.
    """
    held = Drill(
        runs.begin(home.project, Options(dry=True), home.environ), How(date, accept_missing, keep), _say
    )
    try:
        result = held.hold()
    except KeyboardInterrupt:
        _show(held, as_json)
        raise
    _show(held, as_json)
    return 0 if result.good else 1


def _show(held: Drill, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(held.result.to_json(), indent=2))
        return
    for line in held.result.lines():
        click.echo(line)


def _say(text: str) -> None:
    """What is done, and what the programs say: no output of ours."""
    click.echo(text, err=True)

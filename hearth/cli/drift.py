"""`hearth drift`."""

from __future__ import annotations

import json

import click

from hearth import run as runs
from hearth.doctor.examine import Home
from hearth.drift.look import look
from hearth.options import Options


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; docs/drift.md describes it.")
@click.pass_obj
def drift(home: Home, as_json: bool) -> int:
    """Say what is otherwise than this project says: guests, files, services, firewall, tailnet, certificates.

    Changes nothing. Exits 0 when all is as it should be (and says nothing then), 2 when something is
    otherwise, 1 when something could not be looked at.
    """
    found = look(runs.begin(home.project, Options(dry=True), home.environ))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        for line in found.lines():
            click.echo(line)
    return found.code

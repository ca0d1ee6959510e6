"""`hearth report`."""

from __future__ import annotations

from pathlib import Path

import click

from hearth import run as runs
from hearth.doctor.examine import Home
from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.options import Options
from hearth.report.gather import gather
from hearth.report.page import html


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="hearth-report.html",
    show_default=True,
    help="The file to write; `-` for standard output.",
)
@click.pass_obj
def report(home: Home, output: Path) -> int:
    """Write one page about the home: machines, drift, alerts, backups, certificates, versions.

    Nothing is changed.

    It is one file of HTML that needs nothing from elsewhere. It says who talks to whom in your home: keep it
    to yourself. What could not be asked stands in it with the reason.
    """
    text = html(gather(runs.begin(home.project, Options(dry=True), home.environ)))
    if str(output) == "-":
        click.echo(text, nl=False)
        return 0
    try:
        write_durably(output, text.encode())
    except OSError as error:
        raise HearthError(
            f"write {output}", error.strerror or str(error), "name another file: -o FILE"
        ) from None
    click.echo(f"wrote {output}")
    return 0

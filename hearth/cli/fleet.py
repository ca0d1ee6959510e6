"""`hearth fleet check`."""

from __future__ import annotations

import click

from hearth.doctor.examine import Home


@click.command("check")
@click.pass_obj
def check_fleet(home: Home) -> None:
    """Print every mistake of the fleet file; nothing is contacted."""
    fleet = home.load_fleet()
    click.echo(f"{home.fleet_file}: {len(fleet.guests)} guests, no mistakes")

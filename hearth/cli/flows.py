"""`hearth flows`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from hearth.doctor.examine import Home
from hearth.firewall.flows import Flow, Who, flows
from hearth.firewall.settings import read_settings
from hearth.fleet.model import Fleet
from hearth.path import addresses_towards
from hearth.role.catalogue import load_roles
from hearth.role.certificates import fixed_addresses
from hearth.values import tuned

MEANING: dict[Who, str] = {
    "management": "from where the admin works, this machine among them",
    "lan": "everybody in the home but IoT devices, and whoever comes from outside",
    "fleet": "the guests that need it, and those of the same role",
    "monitoring": "the guests that watch all others",
    "iot": "IoT devices: brokers only",
    "outside": "whoever comes through the subnet router: the front door's TLS ports only",
    "door": "the front door's guest alone",
}
HEAD = ("GUEST", "PORT", "FOR", "FROM")


@click.command("flows")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with every address.")
@click.pass_obj
def show_flows(home: Home, as_json: bool) -> None:
    """Print who may reach which port of which guest; nothing is contacted."""
    fleet = home.load_fleet()
    roles = load_roles(home.project / "roles")
    settings = read_settings(tuned(home.project, home.environ), fleet, addresses_towards(fleet))
    found = flows(fleet, roles, settings)
    if as_json:
        click.echo(json.dumps([flow.to_json() for flow in found], indent=2))
        return
    for line in lines(found, fleet):
        click.echo(line)


def lines(found: Sequence[Flow], fleet: Fleet) -> Iterable[str]:
    """For people: a table, and below it who is who."""
    rows = [HEAD, *(_row(flow, fleet) for flow in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    for who, meaning in MEANING.items():
        one = next((flow for flow in found if flow.who == who), None)
        if one is not None:
            yield f"{who}: {meaning}{'' if who == 'fleet' else f'; {one.sources}'}"
    yield "Everything else is refused. lan and management may ping."


def _row(flow: Flow, fleet: Fleet) -> tuple[str, ...]:
    return flow.guest, f"{flow.port}/{flow.protocol}", flow.why, _from(flow, fleet)


def _from(flow: Flow, fleet: Fleet) -> str:
    if flow.who != "fleet":
        return flow.who
    users = (
        guest.name
        for guest in fleet.guests
        if guest.name != flow.guest and any(address in flow.sources for address in fixed_addresses(guest))
    )
    return f"fleet: {', '.join(users)}"

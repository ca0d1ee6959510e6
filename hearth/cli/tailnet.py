"""`hearth tailnet`: who is in it, by which policy, and what has no place there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.role.catalogue import load_roles
from hearth.role.coordination import access_for
from hearth.role.tailnet import known_names, member_names
from hearth.tailnet import Access, Api, Device, connect, members, policy, status

HEAD = ("GUEST", "DEVICE", "ADDRESSES", "ONLINE", "LAST SEEN", "KEY", "ROUTES", "TAGS")


@click.group()
def tailnet() -> None:
    """The tailnet: devices and policy."""


@tailnet.command("status")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@click.pass_obj
def show_status(home: Home, as_json: bool) -> int:
    """Compare the tailnet's devices with the fleet. Changes nothing; exits 0 when all is well."""
    fleet = home.load_fleet()
    found = status.rows(_api(home).devices(), member_names(fleet), known_names(fleet), datetime.now(UTC))
    well = status.all_well(found)
    if as_json:
        click.echo(json.dumps({"well": well, "devices": [row.to_json() for row in found]}, indent=2))
    else:
        for line in lines(found):
            click.echo(line)
    return 0 if well else 1


def lines(found: Sequence[status.Row]) -> Iterable[str]:
    """For people: a table, and below it what is wrong and what to type."""
    yield from _table([HEAD, *(_cells(row) for row in found)])
    for row in found:
        name = row.guest or (row.device.name if row.device else "")
        for wrong in row.wrong:
            yield f"{click.style('wrong', fg='red')} {name}: {wrong}"
    if any(row.wrong and not row.guest for row in found):
        yield "       -> hearth tailnet prune removes devices of guests that are no more"
    if any(row.wrong and row.guest and row.device is None for row in found):
        yield "       -> pyinfra inventory deploy.py lets guests join"
    if status.all_well(found):
        yield "all is well"


def _cells(row: status.Row) -> tuple[str, ...]:
    device = row.device
    if device is None:
        return (row.guest, "-", "", "", "", "", "", "")
    return (
        row.guest or "-",
        device.name,
        " ".join(device.addresses),
        "yes" if device.online else "no",
        f"{device.last_seen:%Y-%m-%d %H:%M}" if device.last_seen else "",
        f"{device.expires:%Y-%m-%d}" if device.expires else "never",
        _routes(device),
        " ".join(device.tags),
    )


def _routes(device: Device) -> str:
    waiting = members.missing_routes(device.approved, device.advertised)
    return " ".join([*device.approved, *(f"({route})" for route in waiting)])


def _table(cells: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


@tailnet.command("policy")
@click.option("--apply", "do_apply", is_flag=True, help=f"Make the policy there what {policy.FILE} says.")
@click.option(
    "--over", metavar="TAG", default="", help="With --apply: overwrite this policy of somebody else."
)
@click.option("--show", is_flag=True, help="Print the policy there.")
@click.pass_obj
def show_policy(home: Home, do_apply: bool, over: str, show: bool) -> int:
    """Compare the policy there with the file, which the server judges. Exits 0 when they are one."""
    given = _access(home)
    api = connect(given)
    if show:
        click.echo(api.policy().text, nl=False)
        return 0
    text = policy.load(home.project / policy.FILE)
    memory = policy.Memory(home.state_dir / policy.MEMORY, f"{given.url} {given.tailnet}")
    if do_apply:
        state = policy.apply(api, text, memory, over)
        click.echo("nothing to do: " + state.value if state in policy.WELL else f"applied: {state.value}")
        return 0
    state = policy.compare(text, api.policy(), memory.applied())
    click.echo(state.value)
    if policy.validated(api, text):
        click.echo("the server finds the file valid, and its tests hold")
    return 0 if state in policy.WELL else 1


@tailnet.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("names", nargs=-1)
@click.pass_obj
def prune(home: Home, yes: bool, names: tuple[str, ...]) -> int:
    """Remove devices of guests that are no longer in the fleet, and of nodes that no longer ask: ours by
    their tag, and offline.

    NAMES are devices to remove although they are online; each must be one of ours that nobody here has.
    """
    api = _api(home)
    going, staying = members.to_prune(members.left_over(api.devices(), known_names(home.load_fleet())), names)
    for device in staying:
        click.echo(f"stays: {device.name} is online; name it to remove it")
    for device in going:
        click.echo(f"goes: {device.name} (id {device.id}, {' '.join(device.addresses)})")
    if not going:
        click.echo("nothing to remove")
        return 0
    if not yes and not click.confirm("Remove them?"):
        raise HearthError("remove devices from the tailnet", "it was not confirmed")
    for device in going:
        api.delete(device.id)
    click.echo(f"removed {len(going)}")
    return 0


def _api(home: Home) -> Api:
    return connect(_access(home))


def _access(home: Home) -> Access:
    return access_for(home.load_fleet(), load_roles(home.project / "roles"), home.environ, home.secrets)

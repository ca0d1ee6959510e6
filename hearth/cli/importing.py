"""`hearth import`."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click

from hearth.doctor.examine import Home
from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.fleet.model import Node
from hearth.proxmox.access import ENDPOINT, TOKEN
from hearth.proxmox.api import Api, connect
from hearth.proxmox.importer import import_fleet

NOBODY = IPv4Address("0.0.0.0")  # the endpoint counts, not the address


@click.command("import")
@click.argument("address", required=False)
@click.option("--endpoint", help="https://HOST:8006, where the port or the name is not the usual.")
@click.option("--node", "nodes", multiple=True, help="Only this node of the cluster; may be repeated.")
@click.option("-o", "--output", help="The file to write (default: the fleet file); - prints it.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.pass_obj
def import_home(
    home: Home, /, address: str | None, endpoint: str | None, nodes: tuple[str, ...], **how: Any
) -> None:
    """Write a fleet file from the live node at ADDRESS. Only reads from it."""
    output = how["output"]
    target = None if output == "-" else Path(output) if output else home.fleet_file
    if target is not None:
        _may_write(target, bool(how["force"]))
    text = import_fleet(_connect(home, address, endpoint), list(nodes) or None)
    if target is None:
        click.echo(text, nl=False)
        return
    try:
        write_durably(target, text.encode(), mode=0o644)
    except OSError as error:
        raise HearthError(f"write {target}", error.strerror or str(error)) from None
    click.echo(f"wrote {target}: read it, then pyinfra inventory deploy.py --dry", err=True)


def _may_write(target: Path, force: bool) -> None:
    action = f"write {target}"
    if target.exists() and not force:
        raise HearthError(
            action, "it is there already", "name another with -o FILE, or overwrite it with --force"
        )
    if not target.parent.is_dir():
        raise HearthError(action, f"there is no folder {target.parent}", f"mkdir -p {target.parent}")


def _connect(home: Home, address: str | None, endpoint: str | None) -> Api:
    where = endpoint or (_with_brackets(address) if address else home.environ.get(ENDPOINT))
    if not where:
        raise click.UsageError(f"name the node's address, or set {ENDPOINT}")
    node = Node(name=address or where, address=NOBODY, endpoint=where, storage="", images="")
    # What was typed wins over the environment's endpoint.
    environ = {name: value for name, value in home.environ.items() if name != ENDPOINT}
    token = None if environ.get(TOKEN) else home.secrets.find("proxmox/token")
    return connect(node, environ, token.reveal() if token else None)


def _with_brackets(address: str) -> str:
    return f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address

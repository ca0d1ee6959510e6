"""`hearth node-key`."""

from __future__ import annotations

import shlex
from importlib.resources import files

import click

from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.proxmox.wrapper import WRAPPER, authorized_line
from hearth.secrets import ensure_ssh_key


@click.command("node-key")
@click.option("--line", "only_line", is_flag=True, help="Only the line for authorized_keys.")
@click.pass_obj
def node_key(home: Home, only_line: bool) -> None:
    """Say what to install on the node for what no API token may do."""
    store = home.secrets
    _, public = ensure_ssh_key(store, "node")
    store.save()
    line = authorized_line(public, _tailnet(home))
    if only_line:
        click.echo(line)
        return
    wrapper = shlex.quote(str(files("hearth.proxmox") / "node_wrapper.py"))
    click.echo("For each node (NODE is its address), once:\n")
    click.echo(f"scp {wrapper} root@NODE:{WRAPPER}")
    click.echo(f"ssh root@NODE chmod 755 {WRAPPER}")
    click.echo(f"echo {shlex.quote(line)} | ssh root@NODE 'cat >> /root/.ssh/authorized_keys'")


def _tailnet(home: Home) -> bool:
    """Whether a node of the fleet asks for the tailnet; False where the fleet file cannot be read."""
    try:
        return any(node.tailnet for node in home.load_fleet().nodes)
    except HearthError:
        return False

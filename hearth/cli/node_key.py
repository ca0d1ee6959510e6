"""`hearth node-key`."""

from __future__ import annotations

import shlex
from importlib.resources import files

import click

from hearth.doctor.examine import Home
from hearth.proxmox.wrapper import WRAPPER, authorized_line
from hearth.secrets import ensure_ssh_key


@click.command("node-key")
@click.option("--line", "only_line", is_flag=True, help="Only the line for authorized_keys.")
@click.pass_obj
def node_key(home: Home, only_line: bool) -> None:
    """Say what to install on the node for the few settings that no API token may change."""
    store = home.secrets
    _, public = ensure_ssh_key(store, "node")
    store.save()
    line = authorized_line(public)
    if only_line:
        click.echo(line)
        return
    wrapper = shlex.quote(str(files("hearth.proxmox") / "node_wrapper.py"))
    click.echo("For each node (NODE is its address), once:\n")
    click.echo(f"scp {wrapper} root@NODE:{WRAPPER}")
    click.echo(f"ssh root@NODE chmod 755 {WRAPPER}")
    click.echo(f"echo {shlex.quote(line)} | ssh root@NODE 'cat >> /root/.ssh/authorized_keys'")

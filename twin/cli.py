"""The command line.

Python -m twin [--name NAME] up | status | exec | shell | fault | disaster | lend | device | log |
trust-node-key | down.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hearth.errors import HearthError
from twin import execute as execution
from twin import node_ssh, packages, status
from twin.control import ask
from twin.devices.commands import device
from twin.devices.start import ROLES
from twin.down import down as take_down
from twin.pve.faults import describe
from twin.real import archives as archive_files
from twin.state import DEFAULT_HOME, Twin
from twin.up import up as bring_up


class _Group(click.Group):
    """Ends with one clear sentence and exit code 1 where something failed that an admin can mend."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HearthError as error:
            click.echo(str(error), err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.option("--name", default="default", envvar="HEARTH_TWIN", show_default=True, help="Which twin.")
@click.pass_context
def main(ctx: click.Context, name: str) -> None:
    """The digital twin.

    A Proxmox node with real guests, on this machine, reached by nobody and reaching nobody.
    """
    ctx.obj = Twin.named(name)


@main.command()
@click.pass_obj
def up(twin: Twin) -> None:
    """Make the twin of the fleet file, or what is missing of it."""
    bring_up(twin, click.echo)


@main.command()
@click.option("--purge", is_flag=True, help=f"Remove the cached guest base too ({DEFAULT_HOME}/base).")
@click.pass_obj
def down(twin: Twin, purge: bool) -> None:
    """Take the twin away; nothing of it is left but the cached guest base."""
    take_down(twin, purge)


@main.command(name="status")
@click.pass_obj
def show_status(twin: Twin) -> None:
    """Say what runs and what is only a stand-in; exit 0 when all is well."""
    sys.exit(0 if status.report(twin, click.echo) else 1)


@main.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run_command(twin: Twin, command: tuple[str, ...]) -> None:
    """Run a command in the twin's network, with the twin's node, keys and state."""
    execution.execute(twin, list(command))


@main.command()
@click.pass_obj
def shell(twin: Twin) -> None:
    """Open a shell in the twin's network."""
    execution.execute(twin, [os.environ.get("SHELL", "/bin/sh")])


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("parameters", nargs=-1)
@click.pass_obj
def fault(twin: Twin, name: str, parameters: tuple[str, ...]) -> None:
    """Do harm: NAME KEY=VALUE..., or `list`, or `clear` [NAME]."""
    packages.need_root()
    if name == "list":
        for known, usage, what in describe():
            click.echo(f"{known} {usage}\n    {what}")
        for active in ask(twin, "GET", "/faults")["active"]:
            click.echo(f"active: {active['name']} {active['params']}")
    elif name == "clear":
        only = f"?name={parameters[0]}" if parameters else ""
        click.echo(f"cleared: {ask(twin, 'DELETE', f'/faults{only}')['cleared']}")
    else:
        given = dict(word.partition("=")[::2] for word in parameters)
        ask(twin, "POST", "/faults", {"name": name, "params": given})


@main.command()
@click.argument("seconds", type=click.FloatRange(min=0))
@click.pass_obj
def clock(twin: Twin, seconds: float) -> None:
    """Move the node's clock forward by SECONDS: what would run out meanwhile has run out."""
    packages.need_root()
    ahead = ask(twin, "POST", "/clock", {"forward": seconds})["ahead"]
    click.echo(f"the node's clock is {ahead:g} s ahead")


@main.command()
@click.option("--backups", is_flag=True, help="The backups on the node's storages too.")
@click.pass_obj
def disaster(twin: Twin, backups: bool) -> None:
    """Destroy every guest and what is on the node's storages, for good: disks, templates, images."""
    packages.need_root()
    lost = ask(twin, "POST", "/disaster", {"backups": backups}, patience=300)["lost"]
    click.echo(f"lost: {', '.join(lost) or 'nothing'}")


@main.command()
@click.argument("storage")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def lend(twin: Twin, storage: str, files: tuple[Path, ...]) -> None:
    """Let the node's STORAGE show backups that are FILES of this machine; they are read and never changed."""
    packages.need_root()
    click.echo(f"lent: {', '.join(archive_files.lend(twin, storage, files)) or 'nothing'}")


@main.command()
@click.argument("process", required=False, type=click.Choice(ROLES))
@click.pass_obj
def log(twin: Twin, process: str | None) -> None:
    """Print the API's request log, one JSON object a line; or what the PROCESS of a simulated device says."""
    packages.need_root()
    path = twin.logs / (f"{process}.log" if process else "requests.jsonl")
    click.echo(path.read_text() if path.exists() else "", nl=False)


@main.command(name="trust-node-key")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def trust_node_key(twin: Twin, file: Path) -> None:
    """Let the key in FILE run Hearth's wrapper on the node, as an admin installs it once."""
    packages.need_root()
    click.echo(node_ssh.trust(twin, file.read_text()))


main.add_command(device)

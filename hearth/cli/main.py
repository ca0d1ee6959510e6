"""The edge of the `hearth` command: arguments in, lines and exit codes out."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

import hearth
from hearth.cli.advise import advise
from hearth.cli.android import android
from hearth.cli.doctor import doctor
from hearth.cli.drift import drift
from hearth.cli.drill import drill
from hearth.cli.fleet import check_fleet
from hearth.cli.flows import show_flows
from hearth.cli.importing import import_home
from hearth.cli.node_key import node_key
from hearth.cli.outdated import outdated
from hearth.cli.report import report
from hearth.cli.secrets import secrets
from hearth.cli.tailnet import tailnet
from hearth.doctor.examine import Home
from hearth.errors import HearthError

FAILED, INTERRUPTED = 1, 130


def say(text: str) -> None:
    """A line for the admin that is no output."""
    click.echo(f"hearth: {text}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(hearth.__version__, prog_name="hearth")
@click.option(
    "--project",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="The folder with inventory/ and roles/ (default: here).",
)
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.pass_context
def cli(context: click.Context, project: Path, debug: bool) -> None:
    """Hearth: the home as code. `pyinfra inventory deploy.py` deploys; this looks, imports and keeps."""
    context.obj = Home(project.absolute(), os.environ, say)


@cli.group()
def fleet() -> None:
    """The fleet file."""


fleet.add_command(check_fleet)
cli.add_command(advise)
cli.add_command(android)
cli.add_command(doctor)
cli.add_command(drift)
cli.add_command(drill)
cli.add_command(show_flows)
cli.add_command(import_home)
cli.add_command(node_key)
cli.add_command(outdated)
cli.add_command(report)
cli.add_command(secrets)
cli.add_command(tailnet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `hearth` command.

    Args:
        arguments: without the program's name; None: the process's own.

    Returns:
        See `run_command`.
    """
    return run_command(cli, "hearth", arguments)


def run_command(
    command: click.Command, name: str, arguments: Sequence[str] | None = None, home: Home | None = None
) -> int:
    """Run a command of ours: whatever goes wrong ends in words and an exit code.

    Args:
        command: what to run. name: as the admin typed it.
        arguments: without the program's name; None: the process's own.
        home: its object, where it does not make one itself.

    Returns:
        0 when all is well, 1 when something failed or is not well, 2 for wrong arguments, 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(command.main(given, prog_name=name, standalone_mode=False, obj=home) or 0)
    except click.exceptions.Abort:
        click.echo("hearth: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone; there is nobody to tell
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return FAILED
    except Exception as error:
        _tell(error, debug="--debug" in given)
        return FAILED


def _tell(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, HearthError):
        click.echo(f"hearth: {error}", err=True)
    else:
        # Not the message: nobody has looked whether it holds a secret.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        click.echo(f"hearth: a bug in Hearth: {type(error).__name__} at {place} (run with --debug)", err=True)

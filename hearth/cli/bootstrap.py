"""`python bootstrap.py`: arguments, questions and answers of the admin."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from hearth.bootstrap.rights import USER
from hearth.bootstrap.run import Bootstrap, Plan
from hearth.bootstrap.shell import root_shell
from hearth.cli.main import run_command, say
from hearth.doctor.examine import Home
from hearth.doctor.reach import judge_way, try_way
from hearth.errors import HearthError
from hearth.fleet.model import Node
from hearth.proxmox.access import CA_BUNDLE, ENDPOINT, TOKEN, Access, access, endpoint_of, verify_of
from hearth.proxmox.login import log_in
from hearth.secrets import SecretStore

PASSWORD = "PROXMOX_VE_PASSWORD"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--endpoint", help=f"https://NODE:8006 (default: {ENDPOINT}, then the fleet file's).")
@click.option("--user", default="root@pam", show_default=True, help="Who logs in, where no token is given.")
@click.option(
    "--ssh-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Logs in at the nodes (default: your agent and ~/.ssh, then the password).",
)
@click.option("--dry", is_flag=True, help="Only show what would be done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before it is done.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback where something fails.")
@click.pass_obj
def bootstrap(
    home: Home, *, endpoint: str | None, user: str, ssh_key: Path | None, dry: bool, yes: bool
) -> int:
    """Give Hearth its own user, token, roles and SSH key on Proxmox: what the fleet file needs, no more.

    Run it once as root, and again whenever `hearth doctor` says that the fleet needs more or less. It asks
    for root's password, or takes PROXMOX_VE_PASSWORD, or a token of root's from PROXMOX_VE_API_TOKEN.
    """
    fleet = home.load_fleet()
    way, who, password = _root(fleet.nodes[0], home.environ, endpoint, user)
    without = {name: value for name, value in home.environ.items() if name != TOKEN}
    store = SecretStore.from_environment(home.project, without, home.notify)
    opened = partial(root_shell, known=home.known_hosts, key_file=ssh_key, password=password)
    run = Bootstrap(fleet, way, who, store, opened)
    with run.plan() as plan:
        _show(plan)
        if dry or not plan.lines:
            return 0
        if not yes:
            _confirm()
        run.carry_out(plan, lambda text: click.echo(f"  {text}"))
    click.echo("done; hearth doctor looks at the rest")
    if home.environ.get(TOKEN):
        say(f"{TOKEN} is set here and wins over the secrets: unset it, and Hearth uses its own token")
    return 0


def _root(
    node: Node, environ: Mapping[str, str], endpoint: str | None, user: str
) -> tuple[Access, str, str | None]:
    """The way in, its user or token id, and the password where there is one."""
    given = environ.get(TOKEN, "")
    place = endpoint_of(endpoint or environ.get(ENDPOINT) or node.endpoint)
    if given and not given.startswith(f"{USER}!"):
        way = access(node, {**environ, ENDPOINT: place})
        _reachable(node, way, environ)
        return way, f"{way.user}!{way.token_name}", None
    _reachable(node, Access(place, user, "", "", verify_of(environ)), environ)
    password = environ.get(PASSWORD) or _asked(user, place)
    # The system's own account is SSH's too; a user of another realm is not.
    return log_in(place, verify_of(environ), user, password), user, password if user == "root@pam" else None


def _reachable(node: Node, way: Access, environ: Mapping[str, str]) -> None:
    """Before a password is asked for: is there anybody to give it to."""
    finding = judge_way(node, way.endpoint, try_way(way), bool(environ.get(CA_BUNDLE)))
    if finding.status != "ok":
        raise HearthError(f"reach {node.name}", finding.text, finding.remedy)


def _asked(user: str, place: str) -> str:
    if not sys.stdin.isatty():
        raise HearthError(
            f"log in as {user} at {place}",
            "there is no terminal to ask for the password",
            f"set {PASSWORD}, or {TOKEN} to a token of root's",
        )
    return str(click.prompt(f"Password of {user} at {place}", hide_input=True, err=True))


def _show(plan: Plan) -> None:
    for line in plan.lines:
        click.echo(f"+ {line}")
    for note in plan.notes:
        say(f"left alone: {note}")
    click.echo(
        f"{len(plan.lines)} to do" if plan.lines else "nothing to do: Hearth has what this fleet needs"
    )


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise HearthError("do this", "there is no terminal to ask on", "--yes does it without asking")
    click.confirm("Do it?", abort=True, err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run bootstrap.py in the current folder's project; gives the exit code as `hearth` does."""
    home = Home(Path.cwd(), os.environ, say)
    return run_command(bootstrap, "bootstrap.py", arguments, home)

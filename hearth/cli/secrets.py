"""`hearth secrets`.

Values come in by prompt or stdin, never on the command line: everybody sees that in ps.
"""

from __future__ import annotations

import sys

import click

from hearth.cli.editing import edit
from hearth.cli.recipients import recipients
from hearth.cli.secrets_status import status
from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.secrets import ssh_public_key
from hearth.secrets.bitwarden import check_reference


@click.group()
def secrets() -> None:
    """The encrypted secrets (inventory/secrets.age)."""


@secrets.command("list")
@click.pass_obj
def list_names(home: Home) -> None:
    """Print names and when they were made; no values."""
    store = home.secrets
    for name in store.names():
        variable = store.overridden(name)
        note = f"  ({variable} is set and wins)" if variable else ""
        click.echo(f"{store.created(name)}  {name}{note}")


@secrets.command()
@click.argument("name")
@click.pass_obj
def show(home: Home, name: str) -> None:
    """Print the value of NAME."""
    click.echo(home.secrets.get(name).reveal())


@secrets.command("set")
@click.argument("name")
@click.option("--from", "reference", metavar="bw://ITEM", help="Keep it in Bitwarden; see docs/secrets.md.")
@click.pass_obj
def set_value(home: Home, name: str, reference: str | None) -> None:
    """Set NAME to what is typed at the prompt, or piped in (without its last line's end)."""
    store = home.secrets
    value = check_reference(reference) if reference else _ask(name)
    if not value:
        raise HearthError(
            f"set the secret {name}", "the value is empty", f"hearth secrets remove {name} removes it"
        )
    store.put(name, value)
    store.save()
    variable = store.overridden(name)
    if variable:
        click.echo(f"hearth: {variable} is set here and wins over what was just stored", err=True)


def _ask(name: str) -> str:
    if sys.stdin.isatty():
        return str(
            click.prompt(name, hide_input=True, confirmation_prompt=True, default="", show_default=False)
        )
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError:
        raise HearthError(f"set the secret {name}", "the value is not text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


@secrets.command()
@click.argument("name")
@click.pass_obj
def remove(home: Home, name: str) -> None:
    """Remove NAME; what Hearth generates is generated anew by the next deploy."""
    store = home.secrets
    if name not in store.names():
        raise HearthError(f"remove the secret {name}", f"it is not in {store.path}", "hearth secrets list")
    store.remove(name)
    store.save()


@secrets.command()
@click.argument("name")
@click.pass_obj
def public(home: Home, name: str) -> None:
    """Print what may be known of NAME: an SSH key's public line, a certificate."""
    secret = home.secrets.get(name)
    if name.startswith("ssh/"):
        click.echo(ssh_public_key(secret, f"hearth-{name.removeprefix('ssh/')}"))
    elif name.endswith("/cert"):
        click.echo(secret.reveal(), nl=False)
    else:
        raise HearthError(f"print the public part of {name}", "it has none", "ssh/NAME and .../cert have one")


secrets.add_command(edit)
secrets.add_command(recipients)
secrets.add_command(status)

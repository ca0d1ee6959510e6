"""`hearth secrets`.

Values come in by prompt or stdin, never on the command line: everybody sees that in ps.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import click

from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.secrets import SecretStore, ssh_public_key
from hearth.secrets.age import recipient_of
from hearth.secrets.bitwarden import check_reference
from hearth.secrets.identity import read_identities


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


@dataclass(frozen=True)
class _Wanted:
    add: tuple[str, ...]
    remove: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


@secrets.command()
@click.option("--add", multiple=True, metavar="age1...", help="Also encrypt for this key; may be repeated.")
@click.option("--remove", multiple=True, metavar="age1...", help="No longer encrypt for this key.")
@click.pass_obj
def recipients(home: Home, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Print, add or remove the age keys that the file is encrypted for: a second machine, paper."""
    store = home.secrets
    wanted = _Wanted(add, remove)
    if wanted:
        _change(store, wanted)
    if store.identity_file.exists():
        for identity in read_identities(store.identity_file):
            click.echo(f"{recipient_of(identity)}  (this machine: {store.identity_file})")
    for recipient in store.recipients:
        click.echo(recipient)


def _change(store: SecretStore, wanted: _Wanted) -> None:
    strangers = set(wanted.remove) - set(store.recipients)
    if strangers:
        raise HearthError(
            f"remove the recipient {sorted(strangers)[0]}", "it is none", "hearth secrets recipients"
        )
    kept = [recipient for recipient in store.recipients if recipient not in wanted.remove]
    store.set_recipients((*kept, *wanted.add))
    store.save()
    if wanted.remove:
        click.echo(
            "hearth: older versions of the file in Git stay readable for the removed key: "
            "change the secrets themselves where that matters",
            err=True,
        )

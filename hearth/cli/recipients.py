"""`hearth secrets recipients`: the age keys that open the secrets file."""

from __future__ import annotations

import click

from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.secrets import SecretStore
from hearth.secrets.age import check_recipient, recipient_of
from hearth.secrets.identity import read_identities

OLD_VERSIONS = (
    "hearth: versions of the file that are in Git already stay readable for the removed key: "
    "pyinfra inventory rotate.py --data rotate=all makes what is in them worthless"
)


@click.group()
def recipients() -> None:
    """The age keys that open the file: this machine's, a second machine's, one on paper."""


@recipients.command("list")
@click.pass_obj
def list_keys(home: Home) -> None:
    """Print them, this machine's first."""
    store = home.secrets
    own = _own(store)
    for key in own:
        click.echo(f"{key}  (this machine: {store.identity_file})")
    for key in store.recipients:
        if key not in own:
            click.echo(key)


@recipients.command()
@click.argument("keys", metavar="age1...", nargs=-1, required=True)
@click.pass_obj
def add(home: Home, keys: tuple[str, ...]) -> None:
    """Encrypt for further keys too; `age-keygen -y FILE` prints a machine's."""
    store = home.secrets
    store.set_recipients((*store.recipients, *keys))
    store.save()


@recipients.command()
@click.argument("keys", metavar="age1...", nargs=-1, required=True)
@click.pass_obj
def remove(home: Home, keys: tuple[str, ...]) -> None:
    """Encrypt no longer for these keys."""
    store = home.secrets
    gone = [check_recipient(key) for key in keys]
    for key in gone:
        if key in _own(store):
            raise HearthError(f"remove the recipient {key}", "it is this machine's own", "do it from another")
        if key not in store.recipients:
            raise HearthError(f"remove the recipient {key}", "it is none", "hearth secrets recipients list")
    store.set_recipients(tuple(key for key in store.recipients if key not in gone))
    store.save()
    click.echo(OLD_VERSIONS, err=True)


def _own(store: SecretStore) -> list[str]:
    if not store.identity_file.exists():
        return []
    return [recipient_of(identity) for identity in read_identities(store.identity_file)]

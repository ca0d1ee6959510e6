"""`hearth secrets edit`: the values as YAML in the admin's editor."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from hearth.doctor.examine import Home
from hearth.errors import HearthError
from hearth.secrets import SecretStore
from hearth.secrets.document import check_name

MEMORY = Path("/dev/shm")  # nothing of it ever reaches a disk
HEAD = "# NAME: value. A line taken out removes the secret; what Hearth generates is generated anew.\n"


@dataclass(frozen=True)
class Edit:
    """What an edit wants.

    Args:
        put: names with new values.
        removed: names that are gone.
    """

    put: Mapping[str, str]
    removed: tuple[str, ...]


def compare(before: Mapping[str, str], text: str) -> Edit:
    """What the edited text wants of what was there before.

    Args:
        before: name -> value.
        text: YAML, `name: value`.

    Raises:
        HearthError: it is no YAML, no mapping of names to texts, or a value is empty.
    """
    action = "use the edited secrets"
    try:
        after = yaml.load(text, Loader=yaml.BaseLoader) or {}  # texts only: 0123 and `no` stay what they are
    except yaml.MarkedYAMLError as error:
        # Not the message: it quotes the line.
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "it"
        raise HearthError(action, f"{where} is no YAML") from None
    except yaml.YAMLError:
        raise HearthError(action, "it is no YAML") from None
    if not isinstance(after, dict):
        raise HearthError(action, "it is no mapping", "write `name: value`")
    for name, value in after.items():
        if not isinstance(name, str) or not isinstance(value, str) or not value:
            raise HearthError(action, f"{name} is empty or no text", "take the line out to remove it")
        check_name(name)
    put = {name: value for name, value in after.items() if before.get(name) != value}
    return Edit(put, tuple(name for name in before if name not in after))


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: _Dumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def as_text(values: Mapping[str, str]) -> str:
    """The values as YAML, keys and certificates line by line."""
    return HEAD + (yaml.dump(dict(values), Dumper=_Dumper, width=10_000) if values else "")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def edit(home: Home, names: tuple[str, ...]) -> None:
    """Edit all secrets, or those named, in $VISUAL or $EDITOR; the text is in memory only (/dev/shm)."""
    store = home.secrets
    before = _stored(store, names)
    wanted = _edited(before)
    for name, value in wanted.put.items():
        store.put(name, value)
    for name in wanted.removed:
        store.remove(name)
    store.save()
    click.echo(f"hearth: {len(wanted.put)} set, {len(wanted.removed)} removed", err=True)


def _stored(store: SecretStore, names: tuple[str, ...]) -> dict[str, str]:
    there = store.names()
    for name in names:
        if name not in there:
            raise HearthError(f"edit the secret {name}", f"it is not in {store.path}", "hearth secrets list")
    return {name: store.stored(name).reveal() for name in names or there}


def _edited(before: Mapping[str, str]) -> Edit:
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="hearth-", dir=place) as folder:  # 0700: the editor's copies too
        file = Path(folder) / "secrets.yaml"
        file.write_text(as_text(before), encoding="utf-8")
        while True:
            click.edit(filename=str(file))
            try:
                return compare(before, file.read_text(encoding="utf-8"))
            except (HearthError, UnicodeDecodeError) as error:
                if not sys.stdin.isatty():
                    raise
                click.echo(f"hearth: {error}", err=True)
                click.confirm("Edit again?", default=True, abort=True)

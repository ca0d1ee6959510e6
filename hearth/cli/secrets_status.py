"""`hearth secrets status`: how old every secret is, what uses it, and what is due."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from hearth.doctor.examine import Home
from hearth.pki.certificates import load_certificate
from hearth.role.catalogue import load_roles
from hearth.rotation import way_of
from hearth.secrets import SecretStore
from hearth.secrets.policy import (
    CA_DAYS,
    LEAF_DAYS,
    Due,
    certificate_due,
    check_policy,
    days_of,
    due,
    is_part,
    kind_of,
)
from hearth.secrets.rotation import entry_of
from hearth.secrets.users import users_of
from hearth.values import tuned


@dataclass(frozen=True)
class Row:
    """One secret, without its value.

    Args:
        name: the secret's name.
        kind: e.g. "MQTT password".
        source: "file", "environment" or "Bitwarden".
        made: when (ISO 8601), where that is known.
        due: its age and when it is due.
        users: what uses it.
        rotating: a rotation of it was begun and has not ended.
    """

    name: str
    kind: str
    source: str
    made: str | None
    due: Due
    users: tuple[str, ...]
    rotating: bool

    @property
    def wanting(self) -> bool:
        """True where something is to be done about it."""
        return self.due.is_due or self.rotating

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "name": self.name,
            "kind": self.kind,
            "source": self.source,
            "made": self.made,
            "age_days": self.due.age,
            "due_on": self.due.on.date().isoformat() if self.due.on else None,
            "due": self.due.is_due,
            "rotating": self.rotating,
            "used_by": list(self.users),
        }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list, one object a secret.")
@click.pass_obj
def status(home: Home, as_json: bool) -> int:
    """Print each secret's age, what uses it and when it is due. Exits 1 when something is due."""
    found = rows(home, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps([row.to_json() for row in found], indent=2))
    else:
        for line in table(found):
            click.echo(line)
    return 1 if any(row.wanting for row in found) else 0


def rows(home: Home, now: datetime) -> list[Row]:
    """Every secret that there is, by name.

    Raises:
        HearthError: the secrets, the fleet file, group_data or the vault cannot be read.
    """
    store, fleet = home.secrets, home.load_fleet()
    roles = load_roles(home.project / "roles")
    policy = check_policy(tuned(home.project, home.environ).get("secrets_due", {}))
    vault = store.in_vault()
    found = []
    for name in sorted({*store.names(), *vault}):
        if is_part(name):
            continue
        source, made = "file", store.created(name)
        if name in vault:
            item = vault[name]
            source, made = "Bitwarden", item.revised if item else None
        if store.overridden(name):
            source, made = "environment", None
        when = due(made, days_of(name, policy), now)
        if name.endswith("/cert") and source == "file":
            when = _certificate(store, name, now)
        users = users_of(name, fleet, roles)
        rotating = store.created(entry_of(name)) is not None
        found.append(Row(name, kind_of(name).name, source, made, when, users, rotating))
    return found


def _certificate(store: SecretStore, name: str, now: datetime) -> Due:
    ends = load_certificate(name, store.get(name)).not_valid_after_utc
    return certificate_due(store.created(name), ends, CA_DAYS if name == "ca/cert" else LEAF_DAYS, now)


def table(found: Iterable[Row]) -> Iterator[str]:
    """For people: one line a secret, and what to type."""
    found = list(found)
    width = max((len(row.name) for row in found), default=4)
    yield f"{'SECRET':{width}}  {'AGE':>6}  {'DUE':10}  USED BY"
    for row in found:
        age = f"{row.due.age} d" if row.due.age is not None else row.source
        on = row.due.on.date().isoformat() if row.due.on else "-"
        line = f"{row.name:{width}}  {age:>6}  {on:10}  {', '.join(row.users) or 'nothing'}"
        if row.rotating:
            line += "  (its rotation has not ended)"
        yield click.style(line, fg="red") if row.wanting else line
    yield from _advice([row for row in found if row.wanting])


def _advice(wanting: list[Row]) -> Iterator[str]:
    if not wanting:
        yield "nothing is due"
        return
    yield f"{len(wanting)} due"
    names = [row.name for row in wanting]
    rotated = [name for name in names if way_of(name, ()) is not None]
    if rotated:
        yield f"-> pyinfra inventory rotate.py --data rotate={','.join(rotated)}"
    if "ca/cert" in names:
        yield "-> hearth secrets remove ca/cert; deploy; install the new CA certificate on the phones"
    for name in names:
        if name not in (*rotated, "ca/cert"):
            yield f"-> make another one where it came from, then: hearth secrets set {name}"

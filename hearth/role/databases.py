"""Databases and their users, derived from the roles' needs: who needs `postgresql.postgres` has a database.

The first guest of the fleet file with role `postgresql` is the primary, unless `postgresql_primary` of
group_data names another one. Every other one streams from it.

How to log in as role R: `connection(fleet, "R")`: database and user `R`, password the secret `postgresql/R`
(with `-` for `_`), TLS that proves the server's name by the fleet's own authority. All guests of the database
are named, and whichever takes writes is used: after a promotion nothing has to be changed at the client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urlencode

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.role.certificates import AUTHORITY, fixed_addresses
from hearth.role.declaration import Role
from hearth.secrets import Secret

DATABASE = "postgresql"
PORT = 5432
REPLICATION = "hearth_replication"
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # never needs quotes: PostgreSQL's manual, 4.1.1; NAMEDATALEN - 1


@dataclass(frozen=True)
class Login:
    """A user of the database, and from where it may come.

    Args:
        user: its name, and that of the database it owns.
        addresses: where its guests are; nobody else is let in.
        grants: predefined roles that it is a member of (`Need.grants`).
    """

    user: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    grants: tuple[str, ...] = ()

    @property
    def secret(self) -> str:
        """The name of the password."""
        return secret_of(self.user)


@dataclass(frozen=True)
class Connection:
    """How a role reaches its database; the words are libpq's (PostgreSQL's manual, 34.1.2).

    Args:
        hosts: the database's guests by name, the primary first.
        addresses: their addresses, in the same order.
        database, user: the same word.
        secret: the name of the password.
    """

    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    database: str
    user: str
    secret: str
    port: int = PORT

    def words(self) -> dict[str, str]:
        """libpq's parameters but for the password."""
        return {
            "host": ",".join(self.hosts),
            "hostaddr": ",".join(self.addresses),
            "port": ",".join([str(self.port)] * len(self.hosts)),
            "dbname": self.database,
            "user": self.user,
            "sslmode": "verify-full",
            "sslrootcert": AUTHORITY,
            "target_session_attrs": "read-write",
            "connect_timeout": "5",
        }

    def url(self, password: Secret) -> str:
        """A URL for libpq and for SQLAlchemy with psycopg; it has the password in it."""
        words = self.words()
        who = f"{quote(words.pop('user'))}:{quote(password.reveal(), safe='')}"
        return f"postgresql://{who}@/{quote(words.pop('dbname'))}?{urlencode(words)}"


def secret_of(user: str) -> str:
    """The name of a database user's password: `postgresql/home-assistant` for `home_assistant`."""
    return f"{DATABASE}/{user.removeprefix('hearth_').replace('_', '-')}"


def primary_of(fleet: Fleet, named: str | None = None) -> Guest:
    """The guest whose database takes writes.

    Args:
        fleet: the first of its guests with the role, in the file's order, is the one.
        named: `postgresql_primary` of group_data, which wins.

    Raises:
        HearthError: no guest has the role, or the named one has not.
    """
    members = fleet.with_role(DATABASE)
    found = [guest for guest in members if named in (None, "", guest.name)]
    if not found:
        there = ", ".join(guest.name for guest in members) or "none"
        raise HearthError(
            "find the primary database",
            f"postgresql_primary is {named!r}, and these guests have the role: {there}",
            "name one of them in group_data/postgresql.py",
        )
    return found[0]


def logins(fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Login, ...]:
    """The user of every role that needs `postgresql.postgres`, by name.

    Raises:
        HearthError: a role's name is no user's name, or one of its guests has no fixed address.
    """
    needing = sorted(
        name for name, role in roles.items() if any(need.role == DATABASE for need in role.needs)
    )
    found = []
    for name in needing:
        guests = fleet.with_role(name)
        if guests:
            addresses = tuple(at for guest in guests for at in addresses_of(guest))
            found.append(Login(_checked(name), addresses, _grants(roles[name])))
    return tuple(found)


def _grants(role: Role) -> tuple[str, ...]:
    """What a role's user may do besides. Raises HearthError for what is no predefined role."""
    found = tuple(
        dict.fromkeys(grant for need in role.needs if need.role == DATABASE for grant in need.grants)
    )
    for grant in found:
        if not NAME.fullmatch(grant) or not grant.startswith("pg_"):
            raise HearthError(
                f"let role {role.name} use the database",
                f"{grant!r} is no predefined role",
                "e.g. pg_monitor",
            )
    return found


def addresses_of(guest: Guest) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses that a guest's connections come from.

    Raises:
        HearthError: it has none that is fixed.
    """
    found = fixed_addresses(guest)
    if not found:
        raise HearthError(
            f"let {guest.name} use the database",
            "its address is not fixed, and logins are bound to addresses",
            "give it an address in the fleet file",
        )
    return found


def connection(fleet: Fleet, role: str, named: str | None = None) -> Connection:
    """How a role logs in at its database; `named` as in `primary_of`. Raises HearthError as that does."""
    first = primary_of(fleet, named)
    members = (first, *(guest for guest in fleet.with_role(DATABASE) if guest.name != first.name))
    return Connection(
        hosts=tuple(guest.name for guest in members),
        addresses=tuple(str(addresses_of(guest)[0]) for guest in members),
        database=_checked(role),
        user=role,
        secret=secret_of(role),
    )


def _checked(name: str) -> str:
    if not NAME.fullmatch(name) or name.startswith(("pg_", "hearth_")) or name in ("postgres", "replication"):
        raise HearthError(
            f"give role {name} a database", "its name cannot be a database user's", "rename the role"
        )
    return name

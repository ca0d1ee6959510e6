"""What a guest's database cluster is: its place, its part, and how much memory it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.role.certificates import AUTHORITY
from hearth.role.databases import DATABASE, REPLICATION, addresses_of, primary_of
from hearth.role.here import Here

LIBRARY = "/usr/local/lib/hearth/postgresql"
UNKNOWN_MEMORY = 1024  # MiB, for a guest whose memory the fleet file leaves alone
LEAST_MEMORY = 192  # MiB: below that PostgreSQL has no room for its connections


@dataclass(frozen=True)
class Cluster:
    """Debian's cluster `main` of one version on one guest.

    Args:
        guest: where it is.
        version: PostgreSQL's major version.
        primary: the guest that takes writes.
        members: all guests of the database, in the file's order.
        memory: MiB that it may take.
        anew: what it holds is to be thrown away, as asked on the command line.
    """

    guest: Guest
    version: int
    primary: Guest
    members: tuple[Guest, ...]
    memory: int
    anew: bool = False

    @property
    def is_primary(self) -> bool:
        """Whether this guest is the one that takes writes."""
        return self.guest.name == self.primary.name

    @property
    def others(self) -> tuple[Guest, ...]:
        """The other guests of the database."""
        return tuple(guest for guest in self.members if guest.name != self.guest.name)

    @property
    def bin(self) -> str:
        """Where Debian has the programs."""
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def etc(self) -> str:
        """Where Debian has the configuration."""
        return f"/etc/postgresql/{self.version}/main"

    @property
    def data(self) -> str:
        """Where Debian has the data."""
        return f"/var/lib/postgresql/{self.version}/main"

    @property
    def unit(self) -> str:
        """Debian's unit of the cluster."""
        return f"postgresql@{self.version}-main.service"

    @property
    def passfile(self) -> str:
        """The file with the password of replication, for libpq."""
        return f"{self.etc}/replication.pgpass"

    def conninfo(self, other: Guest) -> str:
        """How this guest's database reaches another one's: libpq's words, the password is in a file."""
        return (
            f"host={other.name} hostaddr={addresses_of(other)[0]} port=5432 user={REPLICATION} "
            f"sslmode=verify-full sslrootcert={AUTHORITY} passfile={self.passfile} connect_timeout=5 "
            f"application_name={slot_of(self.guest)}"
        )

    def settings(self, connections: int) -> dict[str, str]:
        """Settings that follow from the memory (PostgreSQL's manual, 20.4: a quarter for shared_buffers)."""
        return {
            "shared_buffers": f"{self.memory // 4}MB",
            "effective_cache_size": f"{self.memory * 3 // 4}MB",
            "maintenance_work_mem": f"{max(16, self.memory // 16)}MB",
            # A statement may take it several times over, and every connection runs one.
            "work_mem": f"{max(1, self.memory // (connections * 4))}MB",
            "max_connections": str(connections),
        }


def slot_of(guest: Guest) -> str:
    """The name of a replica's slot: lower case, digits and `_` only (PostgreSQL's manual, 27.2.6)."""
    return "hearth_" + guest.name.lower().replace("-", "_")


def cluster_of(here: Here) -> Cluster:
    """This guest's cluster, as fleet and group_data have it.

    Raises:
        HearthError: a value of group_data names no guest of the database, is out of range, or leaves
            too little memory.
    """
    members = here.fleet.with_role(DATABASE)
    memory = (here.guest.memory or UNKNOWN_MEMORY) * _share(here.number("memory_share")) // 100
    if memory < LEAST_MEMORY:
        raise HearthError(
            f"run PostgreSQL on {here.guest.name}",
            f"{memory} MiB are left for it, and it needs {LEAST_MEMORY}",
            "give the guest more memory, or raise postgresql_memory_share",
        )
    return Cluster(
        guest=here.guest,
        version=here.number("version", 13),
        primary=primary_of(here.fleet, here.value("primary")),
        members=members,
        memory=memory,
        anew=_named(here.value("reclone"), members, here.guest),
    )


def _share(percent: int) -> int:
    if percent > 90:  # noqa: PLR2004
        raise HearthError(
            "divide a guest's memory", f"postgresql_memory_share is {percent}", "write at most 90"
        )
    return percent


def _named(value: Any, members: tuple[Guest, ...], guest: Guest) -> bool:
    names = [name for name in str(value or "").split(",") if name]
    unknown = sorted(set(names) - {member.name for member in members})
    if unknown:
        raise HearthError(
            f"throw away the database of {unknown[0]}",
            "no such guest has the role postgresql",
            f"these have: {', '.join(member.name for member in members)}",
        )
    return guest.name in names

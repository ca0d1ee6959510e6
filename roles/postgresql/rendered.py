"""The files of a database guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.databases import REPLICATION, addresses_of, logins, secret_of
from hearth.role.here import Here
from hearth.secrets import Secret, password

from .cluster import LIBRARY, Cluster, slot_of
from .scram import scram_user

SCRIPTS = ("check", "clone", "create", "dump", "fence", "follow", "logins", "pending", "restore")
PROMOTE = "/usr/local/sbin/hearth-promote-database"


@dataclass(frozen=True)
class DatabaseFiles:
    """A database guest's files, by what is done with them.

    Args:
        no_cluster: keeps Debian's package from making a cluster.
        scripts: ours.
        passfile: the password of replication, for libpq.
        configuration: what PostgreSQL reads, on a reload; what of it takes a restart it says itself.
        unit: systemd's drop-in.
        logins: SQL that makes users, databases and slots.
    """

    no_cluster: File
    scripts: tuple[File, ...]
    passfile: File
    configuration: tuple[File, ...]
    unit: File
    logins: File


def database_files(here: Here, cluster: Cluster) -> DatabaseFiles:
    """All of the files on this guest."""
    return DatabaseFiles(
        no_cluster=here.template("createcluster.conf", "/etc/postgresql-common/createcluster.d/hearth.conf"),
        scripts=scripts(here, cluster),
        passfile=own(cluster.passfile, pass_line(here.secrets.ensure(secret_of(REPLICATION), password))),
        configuration=configuration(here, cluster),
        unit=here.template(
            "unit.conf.j2",
            f"/etc/systemd/system/{cluster.unit}.d/hearth.conf",
            values={
                "cluster": cluster,
                "connections": here.number("max_connections"),
                "library": LIBRARY,
            },
        ),
        logins=own(f"{cluster.etc}/logins.sql", login_text(here, cluster)),
    )


def scripts(here: Here, cluster: Cluster) -> tuple[File, ...]:
    """What they know of this guest, and the scripts themselves."""
    known = here.template(
        "settings.sh.j2",
        f"{LIBRARY}/settings",
        values={"cluster": cluster, "slot": slot_of(cluster.guest), "promote": PROMOTE},
    )
    ours = [here.template(f"{name}.sh", f"{LIBRARY}/{name}", mode="755") for name in SCRIPTS]
    return (known, *ours, here.template("promote.sh", PROMOTE, mode="755"))


def configuration(here: Here, cluster: Cluster) -> tuple[File, ...]:
    """What PostgreSQL reads."""
    certificate = here.certificate()
    access = {
        "logins": logins(here.fleet, here.roles),
        "cluster": cluster,
        "replication": REPLICATION,
        "addresses_of": addresses_of,
    }
    return (
        here.template("postgresql.conf.j2", f"{cluster.etc}/postgresql.conf", values={"cluster": cluster}),
        here.template(
            "hearth.conf.j2",
            f"{cluster.etc}/conf.d/hearth.conf",
            values={"cluster": cluster, "slot": slot_of(cluster.guest), "settings": settings(here, cluster)},
        ),
        own(f"{cluster.etc}/pg_hba.conf", here.render("pg_hba.conf.j2", **access), secret=False),
        own(f"{cluster.etc}/pg_ident.conf", "# Written by Hearth: no names are mapped.\n", secret=False),
        File(f"{cluster.etc}/tls/server.crt", certificate.cert_pem),
        own(f"{cluster.etc}/tls/server.key", certificate.key_pem.reveal()),
    )


def settings(here: Here, cluster: Cluster) -> dict[str, str]:
    """The settings that follow from the guest's memory, and the admin's own, which win; values are quoted."""
    own_settings = here.value("settings")
    if not isinstance(own_settings, dict):
        raise HearthError(
            "configure PostgreSQL", "postgresql_settings is no mapping", 'write {"name": value}'
        )
    found = {**cluster.settings(here.number("max_connections", 10)), **own_settings}
    return {str(name): quoted(value) for name, value in found.items()}


def quoted(value: Any) -> str:
    """A value as postgresql.conf has it: in quotes, with quotes and backslashes doubled (manual, 20.1.2)."""
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def pass_line(secret: Secret) -> str:
    """The line of a password file that fits every server (PostgreSQL's manual, 34.16)."""
    escaped = secret.reveal().replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:{REPLICATION}:{escaped}\n"


def login_text(here: Here, cluster: Cluster) -> str:
    """SQL for users with their verifiers, databases, and the slots of replicas."""
    found = logins(here.fleet, here.roles)
    users = [login.user for login in found]
    return here.render(
        "logins.sql.j2",
        users={user: scram_user(here.secrets, user).reveal() for user in (*users, REPLICATION)},
        databases=users,
        grants=[(login.user, grant) for login in found for grant in login.grants],
        slots=[slot_of(guest) for guest in cluster.others],
        replication=REPLICATION,
    )


def own(path: str, content: str, secret: bool = True) -> File:
    """A file that only PostgreSQL may read."""
    return File(path, content, "postgres", "postgres", "600", secret=secret)

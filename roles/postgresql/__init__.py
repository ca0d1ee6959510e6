"""PostgreSQL: one primary, and a streaming replica on every other guest with the role.

For who needs a database: `needs=(Need("postgresql", "postgres"),)` makes database and user of the role's
name, with the secret `postgresql/ROLE` (`-` for `_`). `hearth.role.databases.connection(fleet, ROLE)` has the
rest: hosts, port 5432, TLS `verify-full` against /usr/local/share/ca-certificates/hearth.crt, SCRAM. Anything
but TLS, and any guest without that need, is refused.

The primary's operations all come before the first one of a replica.
"""

from __future__ import annotations

from pyinfra.operations import server

from hearth.ops import apt, files, shell, systemd
from hearth.role.declaration import Directory, Port, Role
from hearth.role.here import Here

from .cluster import LIBRARY, Cluster, cluster_of
from .rendered import DatabaseFiles, database_files

role = Role(
    provides=(Port("postgres", 5432, tls=True, audience="fleet", health="postgres"),),
    state=(
        Directory(
            "/var/lib/postgresql",
            dump=f"sh {LIBRARY}/dump",
            restore=f"sh {LIBRARY}/restore",
            # A replica has what its primary has, and takes it from there.
            unless="ls /var/lib/postgresql/*/main/standby.signal",
        ),
    ),
    secrets=("postgresql/*", "postgresql-salt/*", "tls/*"),
    # The server itself is installed by the role: Debian's package would make a cluster of its own at once.
    packages=("postgresql-common",),
)


@role.deploy
def postgresql(here: Here) -> None:
    """Install; then either the primary or a replica of it."""
    cluster = cluster_of(here)
    found = database_files(here, cluster)
    install(found, cluster)
    if cluster.is_primary:
        primary(found, cluster)
    else:
        replica(found, cluster)


def install(found: DatabaseFiles, cluster: Cluster) -> None:
    """The program, without the cluster that Debian would make, and our scripts."""
    files.present(name="Let Debian's package make no database of its own", files=[found.no_cluster])
    apt.installed(name="Install PostgreSQL", packages=["postgresql"])
    shell.ensure(
        name=f"Find PostgreSQL {cluster.version}",
        holds=f"[ -x {cluster.bin}/postgres ]",
        command=f"echo 'cannot use PostgreSQL {cluster.version} on {cluster.guest.name}: Debian brought' "
        "$(ls /usr/lib/postgresql) '(set postgresql_version in group_data/postgresql.py)' >&2; exit 1",
    )
    files.present(name="Bring the database's scripts", files=[*found.scripts, found.passfile])


def primary(found: DatabaseFiles, cluster: Cluster) -> None:
    """A cluster that takes writes, with its users, databases and a slot for each replica."""
    fresh, there = " fresh" if cluster.anew else "", cluster.data
    shell.ensure(
        name="Create the primary's database cluster",
        holds=f"[ -s {there}/PG_VERSION ] && [ ! -e {there}/standby.signal ] && sh {LIBRARY}/fence",
        command=f"sh {LIBRARY}/create{fresh} || exit",
    )
    serve(found, cluster)
    files.present(name="Write down users, databases and replicas", files=[found.logins])
    shell.ensure(
        name="Give users, databases and replicas their place",
        holds=f"sh {LIBRARY}/logins test",
        command=f"sh {LIBRARY}/logins || exit",
    )


def replica(found: DatabaseFiles, cluster: Cluster) -> None:
    """A copy of the primary that follows it."""
    if cluster.anew:
        server.shell(name="Take the primary's data anew", commands=[f"sh {LIBRARY}/clone again"])
    else:
        shell.ensure(
            name="Take the primary's data",
            holds=f"[ -s {cluster.data}/PG_VERSION ] && [ -e {cluster.data}/standby.signal ]",
            command=f"sh {LIBRARY}/clone || exit",
        )
    serve(found, cluster)
    shell.ensure(
        name="Follow the primary", holds=f"sh {LIBRARY}/follow test", command=f"sh {LIBRARY}/follow || exit"
    )


def serve(found: DatabaseFiles, cluster: Cluster) -> None:
    """Configuration that PostgreSQL has accepted aside, read by the one that runs."""
    files.present(
        name="Configure PostgreSQL",
        files=found.configuration,
        check=f"sh {LIBRARY}/check {{stage}}",
    )
    files.present(name="Confine PostgreSQL", files=[found.unit])
    systemd.service(
        name="Run PostgreSQL",
        unit=cluster.unit,
        restart_on=[found.unit],
        reload_on=found.configuration,
        ports=[port.number for port in role.provides],
    )
    shell.ensure(
        name="Restart PostgreSQL where a setting asks for it",
        holds=f"sh {LIBRARY}/pending",
        command=f"systemctl restart {cluster.unit}",
    )

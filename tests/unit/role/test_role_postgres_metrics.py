"""Monitoring at real databases: its login and rights, a replica that follows, is gone, and lags."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_kit import environment, listens, running, until
from role_kit import FakeRun, fleet, guest

from roles.monitoring import exporters
from tests.ports import free_port

pytestmark = pytest.mark.slow

BIN = Path("/usr/lib/postgresql/15/bin")
SLOT = "hearth_data"
# The port number is replaced: a local test has one address, and two databases on it.


def a_run() -> FakeRun:
    return FakeRun(
        fleet(
            guest("localhost", 136, "postgresql", address="127.0.0.1"),
            guest("data", 139, "postgresql", address="127.0.0.2"),
            guest("monitoring", 137, "metrics", "monitoring", address="127.0.0.1"),
        )
    )


def as_postgres(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run as the database's own user: it refuses root."""
    return subprocess.run(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        **more,  # type: ignore[call-overload]
    )


class Database:
    """A PostgreSQL on loopback whose logins and TLS are what the role writes."""

    def __init__(self, run: FakeRun, root: Path) -> None:
        self.run, self.root, self.port = run, root, free_port()
        self.data = root / "data"

    def create(self) -> None:
        """A primary."""
        as_postgres(BIN / "initdb", "-D", self.data, "-A", "peer", "-U", "postgres")
        self.configure()

    def clone(self, primary: Database) -> None:
        """A replica."""
        source = f"host={primary.root} port={primary.port} user=postgres"
        as_postgres(BIN / "pg_basebackup", "-D", self.data, "-d", source, "-R", "-c", "fast", "-S", SLOT)
        self.configure()

    def configure(self) -> None:
        """Where it listens, its certificate, and who gets in."""
        from roles.postgresql import cluster_of, database_files

        here = self.run.here("localhost", "postgresql")
        files = {
            f.path.rpartition("/")[2]: f.text for f in database_files(here, cluster_of(here)).configuration
        }
        (self.data / "pg_hba.conf").write_text(files["pg_hba.conf"] + "local replication postgres peer\n")
        for name in ("server.crt", "server.key"):
            (self.data / name).write_text(files[name])
            (self.data / name).chmod(0o600)
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{self.root}'\nssl = on\n"
                "max_wal_senders = 5\nfsync = off\nwal_receiver_status_interval = 1\n"
            )
        subprocess.run(["chown", "-R", "postgres:postgres", self.data], check=True)

    def sql(self, text: str) -> str:
        """As the administrator."""
        command = [
            BIN / "psql",
            "-h",
            self.root,
            "-p",
            str(self.port),
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            text,
        ]
        return as_postgres(*command).stdout.strip()

    def logins(self) -> None:
        """Users, rights and slots, by the role's own SQL."""
        from roles.postgresql import cluster_of, database_files

        here = self.run.here("localhost", "postgresql")
        file = self.root / "logins.sql"
        file.write_text(database_files(here, cluster_of(here)).logins.text)
        file.chmod(0o644)
        command = [BIN / "psql", "-h", self.root, "-p", str(self.port), "-XAtq", "-v", "ON_ERROR_STOP=1"]
        wrong = [*command, "-v", "test=1", "-f", file]
        assert int(as_postgres(*wrong).stdout.strip()) >= 3, "user, right and slot are missing"
        as_postgres(*command, "-o", "/dev/null", "-f", file)
        assert as_postgres(*wrong).stdout.strip() == "0"

    @contextlib.contextmanager
    def there(self) -> Iterator[None]:
        """It runs."""
        log = self.root / "log"
        command = [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            BIN / "postgres",
            "-D",
            self.data,
        ]
        with running(*command, log=log, ends=signal.SIGINT, cwd="/"):  # clients are not waited for
            until(lambda: listens(self.port), why=log.read_text)
            yield


@contextlib.contextmanager
def places(count: int) -> Iterator[list[Path]]:
    """Folders of the database's user."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hearth-pg-")))
            subprocess.run(["chown", "postgres:postgres", place], check=True)
            place.chmod(0o755)
            found.append(place)
        yield found


@contextlib.contextmanager
def exporting(database: Database, root: Path) -> Iterator[int]:
    """The exporter with the environment that the role writes; its port."""
    run, port = database.run, free_port()
    ca = root / "ca.crt"
    ca.write_text(run.authority.ca_pem)
    text = exporters.database_text(run.here("monitoring", "monitoring"))
    name, _, value = text.strip().partition("=")
    first = value.strip('"').split(",")[0].replace("port=5432", f"port={database.port}")
    env = {**environment(), name: first.replace(exporters.AUTHORITY, str(ca))}
    command = [
        "prometheus-postgres-exporter",
        f"--web.listen-address=127.0.0.1:{port}",
        "--disable-settings-metrics",
    ]
    with running(*command, log=root / "exporter.log", env=env):
        until(lambda: listens(port), why=(root / "exporter.log").read_text)
        yield port


def samples(port: int) -> dict[str, float]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("pg_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def one(found: dict[str, float], name: str, label: str = "") -> float | None:
    return next((value for key, value in found.items() if key.startswith(name + "{") and label in key), None)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not BIN.is_dir(), reason="needs root, and Debian 12's PostgreSQL")
def test_monitoring_sees_the_replica_follow_go_and_lag(tmp_path: Path) -> None:
    run = a_run()
    with places(2) as (here, there):
        primary, replica = Database(run, here), Database(run, there)
        primary.create()
        with primary.there():
            primary.logins()
            with exporting(primary, tmp_path) as port:
                found = until(lambda: (s := samples(port)).get(next(iter(s), "")) is not None and s)
                assert one(found, "pg_up") == 1 or found.get("pg_up") == 1
                # Which guest it is, is taken from this label.
                assert any(f'server="localhost:{primary.port}"' in name for name in found)
                label = f'slot_name="{SLOT}"'
                assert one(samples(port), "pg_replication_slots_active", label) == 0
                replica.clone(primary)
                with replica.there():
                    until(lambda: one(samples(port), "pg_replication_slots_active", label) == 1)
                    behind = until(
                        lambda: one(samples(port), "pg_replication_slots_pg_wal_lsn_diff", label) is not None
                    )
                    assert behind
                until(lambda: one(samples(port), "pg_replication_slots_active", label) == 0)
                primary.sql(
                    "create table x as select repeat(md5(i::text), 40) from generate_series(1, 60000) i"
                )
                lag = "pg_replication_slots_pg_wal_lsn_diff"
                until(
                    lambda: (one(samples(port), lag, label) or 0) > 64 * 1024 * 1024,
                    why=lambda: str(samples(port)),
                )
            assert primary.sql("select pg_has_role('monitoring', 'pg_monitor', 'member')") == "t"
            assert primary.sql("select rolsuper from pg_roles where rolname = 'monitoring'") == "f"


def test_each_database_is_asked_with_tls_proven() -> None:
    text = exporters.database_text(a_run().here("monitoring", "monitoring"))
    sources = text.partition("=")[2].strip().strip('"').split(",")
    assert [source.split()[0] for source in sources] == ["host=localhost", "host=data"]
    assert all("sslmode=verify-full" in source and "dbname=monitoring" in source for source in sources)

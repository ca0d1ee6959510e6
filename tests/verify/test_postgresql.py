"""The database, by its protocol: who may log in, over what and from where; and that replicas follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest

from hearth.fleet.model import Guest
from hearth.role.certificates import AUTHORITY
from hearth.role.databases import Login, logins, primary_of

LAG = 16 * 1024 * 1024  # bytes of WAL: one segment
PSQL = (
    'f=$(mktemp) && cat >"$f" && PGPASSFILE=$f psql -XqAtw -v ON_ERROR_STOP=1 "{words}" -c "{query}" 2>&1; '
    'rc=$?; rm -f "$f"; exit $rc'
)


@pytest.fixture
def primary(under_test: UnderTest) -> Guest:
    """The guest that takes writes."""
    return primary_of(under_test.fleet, under_test.values["postgresql_primary"])


@pytest.fixture
def replicas(under_test: UnderTest, primary: Guest) -> list[Guest]:
    """The guests that follow it."""
    return [guest for guest in under_test.fleet.with_role("postgresql") if guest.name != primary.name]


def ask(under_test: UnderTest, guest: Guest, query: str) -> str:
    """What a guest's own database answers its administrator."""
    command = f'runuser -u postgres -- psql -XqAt -d postgres -c "{query}"'
    return str(under_test.host(guest).check_output(command)).strip()


def login(
    under_test: UnderTest, way: tuple[Guest, Guest], user: str, password: str, sslmode: str = "verify-full"
) -> tuple[int, str]:
    """How a login from one guest to another ends: exit code, and what psql says. The password is on stdin."""
    client, server = way
    words = f"host={server.name} hostaddr={server.address} user={user} dbname={user} sslmode={sslmode}"
    words += f" sslrootcert={AUTHORITY} connect_timeout=10"
    session = under_test.login(client)
    try:
        command = PSQL.format(words=words, query="SELECT current_user")
        stdin, stdout, _ = session.exec_command(command, timeout=TIMEOUT)
        stdin.write(f"*:*:*:*:{password}\n")
        stdin.channel.shutdown_write()
        said = stdout.read().decode()
        return stdout.channel.recv_exit_status(), said
    finally:
        session.close()


def users(under_test: UnderTest) -> list[tuple[Login, Guest]]:
    """Every user, with one guest that it comes from."""
    return [
        (found, client)
        for found in logins(under_test.fleet, under_test.roles)
        for client in under_test.fleet.with_role(found.user)[:1]
        if not client.appliance
    ]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_its_users_log_in_over_tls_from_their_guests(under_test: UnderTest, guest: Guest) -> None:
    for found, client in users(under_test):
        password = under_test.secret(found.secret)
        assert login(under_test, (client, guest), found.user, password) == (0, f"{found.user}\n")


def test_a_wrong_password_is_refused(under_test: UnderTest, guest: Guest) -> None:
    for found, client in users(under_test):
        code, said = login(under_test, (client, guest), found.user, "wrong")
        assert code != 0
        assert "password authentication failed" in said


def test_a_plain_connection_is_refused(under_test: UnderTest, guest: Guest) -> None:
    for found, client in users(under_test):
        password = under_test.secret(found.secret)
        code, said = login(under_test, (client, guest), found.user, password, sslmode="disable")
        assert code != 0
        assert "no pg_hba.conf entry" in said


def test_another_guest_is_refused_with_the_right_password(
    under_test: UnderTest, guest: Guest, replicas: list[Guest], primary: Guest
) -> None:
    """From the database's own guests, which have psql and no need for the database."""
    for other in [one for one in (primary, *replicas) if one.name != guest.name]:
        for found, _ in users(under_test):
            if other.address in found.addresses:
                continue
            code, said = login(under_test, (other, guest), found.user, under_test.secret(found.secret))
            assert code != 0
            assert "no pg_hba.conf entry" in said


def test_nobody_gets_in_as_the_administrator(under_test: UnderTest, guest: Guest) -> None:
    for _, client in users(under_test):
        code, said = login(under_test, (client, guest), "postgres", "")
        assert code != 0
        assert "no pg_hba.conf entry" in said


def test_it_is_what_the_fleet_says(under_test: UnderTest, guest: Guest, primary: Guest) -> None:
    recovering = ask(under_test, guest, "SELECT pg_is_in_recovery()")
    assert recovering == ("f" if guest.name == primary.name else "t")


def test_every_replica_streams_with_its_slot(
    under_test: UnderTest, guest: Guest, primary: Guest, replicas: list[Guest]
) -> None:
    if guest.name == primary.name:
        wanted = {f"hearth_{other.name.replace('-', '_')}" for other in replicas}
        slots = ask(under_test, primary, "SELECT slot_name FROM pg_replication_slots WHERE active")
        assert set(slots.split()) == wanted
        streams = ask(
            under_test,
            primary,
            "SELECT application_name FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) "
            "WHERE state = 'streaming' AND ssl",
        )
        assert set(streams.split()) == wanted
    else:
        assert ask(under_test, guest, "SELECT status FROM pg_stat_wal_receiver") == "streaming"


def test_what_the_primary_writes_is_on_every_guest(
    under_test: UnderTest, guest: Guest, primary: Guest
) -> None:
    """A record without any effect is written, and its place in the log is reached."""
    # Transactional: the commit flushes it.
    written = ask(under_test, primary, "SELECT pg_logical_emit_message(true, 'hearth-verify', '')")
    here = "pg_current_wal_flush_lsn()" if guest.name == primary.name else "pg_last_wal_replay_lsn()"
    arrived = f"SELECT {here} >= '{written}'"
    until(lambda: ask(under_test, guest, arrived) == "t", f"{guest.name} has not applied {written}")


def test_no_replica_lags(under_test: UnderTest, guest: Guest, primary: Guest, replicas: list[Guest]) -> None:
    if guest.name == primary.name:
        query = f"SELECT count(*) FROM pg_stat_replication WHERE pg_current_wal_lsn() - replay_lsn < {LAG}"
        assert ask(under_test, primary, query) == str(len(replicas))
    else:
        assert ask(under_test, guest, "SELECT pg_is_wal_replay_paused()") == "f"


def test_it_runs_confined_and_has_not_crashed(under_test: UnderTest, host: Any) -> None:
    assert_confined(host, f"postgresql@{under_test.values['postgresql_version']}-main.service", "postgres")


def test_only_the_database_reads_its_secrets(under_test: UnderTest, host: Any) -> None:
    folder = f"/etc/postgresql/{under_test.values['postgresql_version']}/main"
    for path in ("tls/server.key", "replication.pgpass", "pg_hba.conf"):
        file = host.file(f"{folder}/{path}")
        assert (path, file.user, file.mode) == (path, "postgres", 0o600)
    logins_file = host.file(f"{folder}/logins.sql")
    assert not logins_file.exists or (logins_file.user, logins_file.mode) == ("postgres", 0o600)


def test_no_setting_waits_and_no_file_is_misread(under_test: UnderTest, guest: Guest) -> None:
    query = (
        "SELECT (SELECT count(*) FROM pg_settings WHERE pending_restart) "
        "+ (SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL) "
        "+ (SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL)"
    )
    assert ask(under_test, guest, query) == "0"

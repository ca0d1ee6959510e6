"""The databases on real guests: nothing broken goes live, replicas follow, and no copy is lost unasked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from secrets import token_hex

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import Done, Home

PRIMARY, REPLICA = "database", "data"
UNIT = "postgresql@15-main.service"
DATA = "/var/lib/postgresql/15/main"
LIBRARY = "/usr/local/lib/hearth/postgresql"
BOTH = ("--limit", PRIMARY, "--limit", REPLICA)


def deploy(home: Home, *data: str, limit: tuple[str, ...] = BOTH) -> Done:
    """A deploy of the database's guests with values of group_data."""
    return home.deploy(*limit, *(word for value in data for word in ("--data", value)))


def ask(home: Home, guest: str, query: str) -> str:
    """What a guest's own database answers its administrator."""
    return home.said(guest, f'cd / && runuser -u postgres -- psql -XqAt -d postgres -c "{query}"').strip()


def process(home: Home, guest: str) -> str:
    """The server's process."""
    return home.said(guest, f"systemctl show -p MainPID --value {UNIT}").strip()


def streams(home: Home, replica: str = REPLICA) -> bool:
    """Whether the replica receives, asked without failing where its database is not up yet."""
    query = "SELECT status FROM pg_stat_wal_receiver"
    done = subprocess.run(
        home.ssh(replica, f'cd / && runuser -u postgres -- psql -XqAt -d postgres -c "{query}"'),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() == "streaming"


def arrives(home: Home, source: str = PRIMARY, replica: str = REPLICA) -> None:
    """Wait until the replica has what its primary writes now."""
    written = ask(home, source, "SELECT pg_logical_emit_message(true, 'hearth-verify', '')")
    until(lambda: streams(home, replica), 60)
    until(lambda: ask(home, replica, f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t", 30)


@pytest.fixture
def scratch(home: Home) -> Iterator[str]:
    """A table of some 200 MB: a copy takes long enough to be cut off."""
    ask(
        home,
        PRIMARY,
        "CREATE TABLE scratch AS SELECT i, repeat('x', 900) x FROM generate_series(1, 200000) i",
    )
    yield "scratch"
    ask(home, PRIMARY, "DROP TABLE IF EXISTS scratch")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('{"shared_buffers": "lots"}', 'invalid value for parameter "shared_buffers": "lots"'),
        pytest.param(
            '{"no_such_setting": 1}',
            'unrecognized configuration parameter "no_such_setting"',
            marks=pytest.mark.long,
        ),
        pytest.param('{"wal_level": "minimal"}', "WAL streaming", marks=pytest.mark.long),
    ],
)
def test_a_broken_configuration_is_refused_in_postgresqls_words_and_the_old_one_goes_on(
    home: Home, setting: str, words: str
) -> None:
    files = f"cd /etc/postgresql && find . -type f | sort | xargs sha256sum; ls {DATA}/.. /var/tmp"
    before = process(home, PRIMARY), home.said(PRIMARY, files)
    done = deploy(home, f"postgresql_settings={setting}", limit=("--limit", PRIMARY))
    done.refused(words, "refused: /etc/postgresql/15/main/conf.d/hearth.conf kept as it was")
    assert (process(home, PRIMARY), home.said(PRIMARY, files)) == before
    assert ask(home, PRIMARY, "SELECT 1") == "1"


@pytest.mark.long
def test_a_setting_is_reloaded_where_postgresql_can_and_restarts_it_where_it_must(home: Home) -> None:
    before = [process(home, guest) for guest in (PRIMARY, REPLICA)]
    store = home.secrets
    store.put("postgresql/replication", token_hex())
    store.save()
    deploy(home, "postgresql_log_slow=777").went_well()
    ask(home, PRIMARY, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    arrives(home)  # with the new password: the old stream is gone
    assert [process(home, guest) for guest in (PRIMARY, REPLICA)] == before
    assert ask(home, PRIMARY, "SHOW log_min_duration_statement") == "777ms"
    reserved = 'postgresql_settings={"superuser_reserved_connections": 4}'
    deploy(home, reserved, limit=("--limit", PRIMARY)).went_well()
    now = process(home, PRIMARY)
    assert now != before[0]
    assert ask(home, PRIMARY, "SHOW superuser_reserved_connections") == "4"
    deploy(home, reserved, limit=("--limit", PRIMARY)).silent()
    assert process(home, PRIMARY) == now
    deploy(home).went_well()
    deploy(home).silent()
    arrives(home)


@pytest.mark.long
def test_a_copy_that_is_cut_off_is_never_started_and_taken_anew(home: Home, scratch: str) -> None:
    home.said(REPLICA, f"systemctl stop {UNIT} && rm -rf {DATA}")
    # Everything of it dies at once, as in a power cut.
    cut = (
        f"until [ -d {DATA}.hearth-half/base/1 ]; do sleep 0.01; done; "
        f"kill -KILL $(pgrep -f '^sh {LIBRARY}/clone') $(pgrep -x pg_basebackup); echo cut"
    )
    knife = subprocess.Popen(home.ssh(REPLICA, cut), stdout=subprocess.PIPE, text=True)
    done = deploy(home, limit=("--limit", REPLICA))
    said, _ = knife.communicate(timeout=30)
    assert "cut" in said
    done.refused()
    assert home.ends(REPLICA, f"test -e {DATA}") != 0
    assert home.ends(REPLICA, f"systemctl is-active {UNIT}") != 0
    deploy(home, limit=("--limit", REPLICA)).went_well()
    arrives(home)
    assert home.said(REPLICA, f"ls {DATA}/..").split() == ["main"]
    assert ask(home, REPLICA, "SELECT count(*) FROM scratch") == "200000"


@pytest.mark.long
def test_a_copy_that_was_whole_is_taken_up_after_a_cut(home: Home) -> None:
    home.said(REPLICA, f"systemctl stop {UNIT} && mv {DATA} {DATA}.hearth-new")
    deploy(home, limit=("--limit", REPLICA)).went_well()
    arrives(home)
    assert home.said(REPLICA, f"ls {DATA}/..").split() == ["main"]


@pytest.mark.long
def test_no_empty_primary_is_made_while_a_replica_has_the_databases(home: Home) -> None:
    home.said(PRIMARY, f"systemctl stop {UNIT} && mv {DATA} {DATA}.aside")
    try:
        done = deploy(home, limit=("--limit", PRIMARY))
        done.refused("data still has the databases", "hearth-promote-database")
        assert home.ends(PRIMARY, f"test -e {DATA}") != 0
    finally:
        home.said(PRIMARY, f"rm -rf {DATA} && mv {DATA}.aside {DATA} && systemctl start {UNIT}")
    arrives(home)


def test_a_killed_primary_comes_back_by_itself_and_the_replica_follows(home: Home) -> None:
    before = process(home, PRIMARY)
    home.said(PRIMARY, f"systemctl kill -s KILL {UNIT}")
    assert ask(home, REPLICA, "SELECT count(*) > 0 FROM pg_database") == "t"
    until(lambda: process(home, PRIMARY) not in ("0", before), 30)
    until(lambda: home.ends(PRIMARY, f"systemctl is-active {UNIT}") == 0, 30)
    arrives(home)


@pytest.mark.long
def test_a_replica_serves_reads_while_the_primarys_guest_is_gone_and_follows_again(home: Home) -> None:
    home.task("POST", PRIMARY, "/status/stop")
    assert ask(home, REPLICA, "SELECT count(*) > 0 FROM pg_database") == "t"
    home.task("POST", REPLICA, "/status/stop")  # boots first, and waits for its primary
    home.task("POST", REPLICA, "/status/start")
    until(lambda: home.ends(REPLICA, f"systemctl is-active {UNIT}") == 0, 60)
    assert ask(home, REPLICA, "SELECT count(*) > 0 FROM pg_database") == "t"
    home.task("POST", PRIMARY, "/status/start")
    until(lambda: home.ends(PRIMARY, f"systemctl is-active {UNIT}") == 0, 60)
    arrives(home)
    before = [process(home, guest) for guest in (PRIMARY, REPLICA)]
    deploy(home).went_well()
    assert [process(home, guest) for guest in (PRIMARY, REPLICA)] == before


def test_a_dump_brings_back_what_was_lost_while_clients_are_connected(home: Home) -> None:
    deploy(home).went_well()  # guests made anew by other tests have other host keys: these two learn them now
    ask(home, PRIMARY, "CREATE DATABASE keepsake")
    in_it = "cd / && runuser -u postgres -- psql -XqAt -d keepsake -c"
    home.said(PRIMARY, f"{in_it} \"CREATE TABLE kept AS SELECT 'Grüße' AS word\"")
    try:
        home.said(PRIMARY, f"sh {LIBRARY}/dump > /var/tmp/dump")
        home.said(PRIMARY, f"{in_it} 'DROP TABLE kept'")
        home.said(PRIMARY, f'(setsid {in_it} "SELECT pg_sleep(60)" >/dev/null 2>&1 &)')
        home.said(PRIMARY, f"sh {LIBRARY}/restore < /var/tmp/dump")
        assert home.said(PRIMARY, f"{in_it} 'SELECT word FROM kept'").strip() == "Grüße"
        assert home.ends(PRIMARY, f"head -n 20 /var/tmp/dump | sh {LIBRARY}/restore") != 0
        assert home.ends(REPLICA, f"sh {LIBRARY}/dump | sh {LIBRARY}/restore") != 0
        assert home.said(PRIMARY, f"{in_it} 'SELECT word FROM kept'").strip() == "Grüße"
    finally:
        ask(home, PRIMARY, "DROP DATABASE IF EXISTS keepsake WITH (FORCE)")
        home.said(PRIMARY, "rm -f /var/tmp/dump")
    deploy(home).silent()


@pytest.mark.long
def test_a_replica_that_fell_too_far_behind_is_reported_and_copied_anew_only_when_named(home: Home) -> None:
    little = "postgresql_slot_keep=64"
    deploy(home, little).went_well()
    home.said(REPLICA, f"systemctl stop {UNIT}")
    fill = (
        "CREATE TABLE flood AS SELECT i, repeat('x', 900) x FROM generate_series(1, 150000) i; "
        "DROP TABLE flood; SELECT pg_switch_wal(); CHECKPOINT"
    )
    for statement in fill.split("; "):
        ask(home, PRIMARY, statement)
    assert ask(home, PRIMARY, "SELECT wal_status FROM pg_replication_slots") == "lost"
    deploy(home, little).refused("has already been removed", "--data postgresql_reclone=data")
    before = home.said(REPLICA, f"stat -c %i {DATA}")
    deploy(home, little, "postgresql_reclone=data").went_well()
    assert home.said(REPLICA, f"stat -c %i {DATA}") != before
    arrives(home)
    deploy(home).went_well()
    deploy(home).silent()


@pytest.mark.long
def test_a_promotion_and_the_way_back(home: Home) -> None:
    """The replica becomes the primary; the old one stays down, and holds its data until it is named."""
    done = subprocess.run(
        home.ssh(REPLICA, "hearth-promote-database"), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "still answers" in done.stderr
    home.task("POST", PRIMARY, "/status/stop")
    said = home.said(REPLICA, "hearth-promote-database")
    assert 'postgresql_primary = "data"' in said
    assert ask(home, REPLICA, "SELECT pg_is_in_recovery()") == "f"

    home.task("POST", PRIMARY, "/status/start")
    until(lambda: home.ends(PRIMARY, "systemctl is-system-running --wait >/dev/null; true") == 0, 60)
    assert home.ends(PRIMARY, f"systemctl is-active {UNIT}") != 0, "an old primary starts beside the new one"

    # group_data still has the old one.
    deploy(home).refused('data takes writes (postgresql_primary = "data"', "was data promoted?")
    assert ask(home, REPLICA, "SELECT pg_is_in_recovery()") == "f"
    now = "postgresql_primary=data"
    deploy(home, now).refused("--data postgresql_reclone=database")
    assert home.ends(PRIMARY, f"test -s {DATA}/PG_VERSION -a ! -e {DATA}/standby.signal") == 0
    deploy(home, now, "postgresql_reclone=database").went_well()
    deploy(home, now).silent()
    arrives(home, REPLICA, PRIMARY)

    home.said(REPLICA, f"systemctl stop {UNIT}")
    home.said(PRIMARY, "hearth-promote-database")
    deploy(home, "postgresql_reclone=data").went_well()
    deploy(home).silent()
    arrives(home)

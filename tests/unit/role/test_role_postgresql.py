"""The postgresql role: who is let in, what follows from fleet and memory, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

import pytest
from ops_kit import Absent, preparing
from role_kit import FakeRun, dual, fleet, group_data, guest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.role.databases import connection, logins, primary_of, secret_of
from hearth.role.declaration import Need, Role
from hearth.role.here import Here
from hearth.secrets import Secret

NEEDS = (Need("postgresql", "postgres"),)


def a_run(*more: Guest) -> FakeRun:
    """A primary, a replica, a guest whose role needs a database, and one that needs none."""
    run = FakeRun(
        fleet(
            dual("database", 136, "postgresql"),
            guest("data", 139, "postgresql"),
            dual("home", 134, "ledger"),
            guest("other", 150),
            *more,
        )
    )
    run.roles["ledger"] = Role(needs=NEEDS, name="ledger")
    return run


def files(run: FakeRun, name: str, **data: Any) -> dict[str, str]:
    """The texts of the guest's files by path."""
    from roles.postgresql import cluster_of, database_files  # loaded by the catalogue

    here = run.here(name, "postgresql", **data)
    found = database_files(here, cluster_of(here))
    every = [found.no_cluster, *found.scripts, found.passfile, *found.configuration, found.unit, found.logins]
    return {file.path: file.text for file in every}


def ending(texts: dict[str, str], name: str) -> str:
    """The one file whose path ends so."""
    (found,) = [text for path, text in texts.items() if path.endswith(name)]
    return found


def rules(text: str) -> list[list[str]]:
    """The lines of pg_hba.conf in their columns."""
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("name", "others"), [("database", ["192.168.1.139/32"]), ("data", ["192.168.1.136/32", "fd00::136/128"])]
)
def test_exactly_those_who_need_it_are_let_in_over_tls(name: str, others: list[str]) -> None:
    found = rules(ending(files(a_run(), name), "pg_hba.conf"))
    assert found[0] == ["local", "all", "postgres", "peer"]
    wanted = [["ledger", "ledger", "192.168.1.134/32"], ["ledger", "ledger", "fd00::134/128"]]
    wanted += [["replication", "hearth_replication", other] for other in others]
    assert found[1:] == [["hostssl", *line, "scram-sha-256"] for line in wanted]


def test_a_role_on_two_guests_comes_from_both_and_one_on_none_has_no_user() -> None:
    run = a_run(guest("second", 151, "ledger"))
    run.roles["nowhere"] = Role(needs=NEEDS, name="nowhere")
    (found,) = logins(run.fleet, run.roles)
    assert [str(address) for address in found.addresses] == ["192.168.1.134", "fd00::134", "192.168.1.151"]
    assert "nowhere" not in ending(files(run, "database"), "logins.sql")


def test_a_guest_without_a_fixed_address_is_refused() -> None:
    run = a_run(guest("roaming", 152, "ledger", address="dhcp"))
    with pytest.raises(HearthError, match="let roaming use the database: its address is not fixed"):
        logins(run.fleet, run.roles)


@pytest.mark.parametrize("name", ["pg_ledger", "postgres", "replication", "hearth_x", "x" * 64])
def test_a_name_that_postgresql_keeps_for_itself_is_refused(name: str) -> None:
    run = a_run(guest("second", 151, name))
    run.roles[name] = Role(needs=NEEDS, name=name)
    with pytest.raises(HearthError, match="cannot be a database user's"):
        logins(run.fleet, run.roles)


def test_a_connection_names_every_guest_and_takes_the_one_that_writes() -> None:
    found = connection(a_run().fleet, "ledger")
    assert found.words() == {
        "host": "database,data",
        "hostaddr": "192.168.1.136,192.168.1.139",
        "port": "5432,5432",
        "dbname": "ledger",
        "user": "ledger",
        "sslmode": "verify-full",
        "sslrootcert": "/usr/local/share/ca-certificates/hearth.crt",
        "target_session_attrs": "read-write",
        "connect_timeout": "5",
    }
    assert connection(a_run().fleet, "ledger", "data").hosts == ("data", "database")
    assert connection(a_run().fleet, "home_assistant").secret == "postgresql/home-assistant"
    assert secret_of("hearth_replication") == "postgresql/replication"


def test_a_url_survives_any_password() -> None:
    sqlalchemy_form = r"postgresql://ledger:p%40ss%3A%2Fw%25@/ledger\?host=database%2Cdata&"
    assert re.match(sqlalchemy_form, connection(a_run().fleet, "ledger").url(Secret("p@ss:/w%")))


def test_the_first_guest_is_the_primary_unless_another_is_named() -> None:
    there = a_run().fleet
    assert [primary_of(there, named).name for named in (None, "", "data")] == ["database", "database", "data"]
    for wrong in ("other", "nobody"):
        with pytest.raises(HearthError, match=r"postgresql_primary.*database, data"):
            primary_of(there, wrong)


def test_only_a_replica_has_somebody_to_follow_and_each_its_own_slot() -> None:
    run = a_run(guest("third-one", 160, "postgresql"))
    texts = {name: files(run, name) for name in ("database", "data", "third-one")}
    conf = {name: ending(found, "conf.d/hearth.conf") for name, found in texts.items()}
    assert "primary_conninfo" not in conf["database"]
    assert "primary_slot_name = 'hearth_data'" in conf["data"]
    assert "primary_slot_name = 'hearth_third_one'" in conf["third-one"]
    for name in ("data", "third-one"):
        assert "host=database hostaddr=192.168.1.136 " in conf[name]
        assert "sslmode=verify-full" in conf[name]
    assert "ARRAY['hearth_data', 'hearth_third_one']" in ending(texts["database"], "logins.sql")
    moved = files(run, "data", postgresql_primary="data")
    assert "primary_conninfo" not in ending(moved, "conf.d/hearth.conf")
    assert "ARRAY['hearth_database', 'hearth_third_one']" in ending(moved, "logins.sql")


def test_no_password_is_where_others_read() -> None:
    run = a_run()
    from roles.postgresql import cluster_of, database_files

    here = run.here("database", "postgresql")
    found = database_files(here, cluster_of(here))
    secrets = [run.secrets.get(f"postgresql/{name}").reveal() for name in ("ledger", "replication")]
    every = [*found.scripts, found.passfile, *found.configuration, found.unit, found.logins]
    holding = {file.path.rpartition("/")[2] for file in every for secret in secrets if secret in file.text}
    assert holding == {"replication.pgpass"}
    for file in every:
        if file.path.endswith((".pgpass", ".key", ".sql")):
            assert (file.user, file.mode, file.secret) == ("postgres", "600", True)
            assert file.text not in repr(file)


def test_a_password_gives_the_same_verifier_and_another_one_another() -> None:
    run = a_run()
    first = ending(files(run, "database"), "logins.sql")
    assert ending(files(run, "database"), "logins.sql") == first
    run.secrets.put("postgresql/ledger", "another")
    assert ending(files(run, "database"), "logins.sql") != first


def test_the_verifier_is_the_one_that_rfc_7677_has() -> None:
    """Its example (3): password `pencil`, this salt, 4096 rounds; both sides' signatures hold."""
    FakeRun(fleet())
    from roles.postgresql.scram import scram_verifier

    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    stored, server = (base64.b64decode(part) for part in verifier.rpartition("$")[2].split(":"))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    signature = hmac.digest(server, message.encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client = bytes(a ^ b for a, b in zip(proof, hmac.digest(stored, message.encode(), "sha256"), strict=True))
    assert hashlib.sha256(client).digest() == stored


@pytest.mark.parametrize("password", ["", "Grüße", "line\nbreak"])
def test_a_password_that_would_be_hashed_otherwise_by_others_is_refused(password: str) -> None:
    run = a_run()
    run.secrets.put("postgresql/ledger", password)
    with pytest.raises(HearthError, match="postgresql/ledger: it is not printable ASCII"):
        files(run, "database")


def test_a_password_file_takes_colons_and_backslashes() -> None:
    run = a_run()
    run.secrets.put("postgresql/replication", "a:b\\c")
    assert ending(files(run, "database"), ".pgpass") == "*:*:*:hearth_replication:a\\:b\\\\c\n"


def test_memory_follows_the_guest_and_the_admins_settings_win() -> None:
    run = FakeRun(fleet(guest("database", 136, "postgresql", memory=4096)))
    conf = ending(files(run, "database", postgresql_memory_share=75), "conf.d/hearth.conf")
    assert "shared_buffers = '768MB'" in conf
    assert "MemoryMax=3072M" in ending(
        files(run, "database", postgresql_memory_share=75), "main.service.d/hearth.conf"
    )
    mine = {"shared_buffers": "1GB", "fsync": True, "application_name": "it's"}
    conf = ending(files(run, "database", postgresql_settings=mine), "conf.d/hearth.conf")
    assert "shared_buffers = '1GB'" in conf
    assert "fsync = 'on'" in conf
    assert "application_name = 'it''s'" in conf


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"postgresql_memory_share": 95}, "write at most 90"),
        ({"postgresql_memory_share": 10}, "MiB are left for it"),
        ({"postgresql_primary": "nobody"}, "postgresql_primary"),
        ({"postgresql_reclone": "database,nobody"}, "throw away the database of nobody"),
        ({"postgresql_settings": ["x"]}, "postgresql_settings"),
        ({"postgresql_slot_keep": -1}, "postgresql_slot_keep"),
        ({"postgresql_max_connections": "many"}, "postgresql_max_connections"),
        ({"postgresql_version": 9}, "postgresql_version"),
    ],
)
def test_a_value_out_of_range_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(HearthError, match=words):
        files(a_run(), "database", **data)


def plan(name: str, **data: Any) -> list[str]:
    """The names of the role's operations on an absent guest; all of them would change something."""
    run = a_run()
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(**data)
        deployer = run.roles["postgresql"].deployer
        assert deployer
        deployer(Here(run, run.fleet.guest(name), host, run.roles["postgresql"]))
        metas = [host.state.get_op_meta(key) for key in host.op_hash_order]
        assert all(host.state.ops[host][key].operation_meta.will_change for key in host.op_hash_order)
        return [next(iter(meta.names)) for meta in metas]


def test_a_replica_is_copied_only_when_there_is_none_or_it_is_named() -> None:
    assert "Take the primary's data" in plan("data")
    assert "Take the primary's data anew" in plan("data", postgresql_reclone="data")
    assert not any("Take the primary's data" in name for name in plan("database"))
    assert "Create the primary's database cluster" in plan("database")
    assert "Take the primary's data" in plan("database", postgresql_primary="data")

"""Vaultwarden on a real guest: nothing broken goes live; the vault is dumped in use and comes back."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import Done, Home
from twin.home import Home as Addresses
from twin.registry import start as registry

pytestmark = pytest.mark.long
UNIT = "vaultwarden.service"
CONVERTED = "__diesel_schema_migrations"  # what was done to the database, by the versions that did it
DATA = "/var/lib/vaultwarden"
DUMP, RESTORE = (f"sh /usr/local/lib/hearth/vaultwarden/{name}" for name in ("dump", "restore"))
PLAIN = "http://127.0.0.1:18443"
BACK = 90  # seconds


class Vault:
    """Vaultwarden's stand-in, in a home of the twin."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.twin = home.twin.twin
        self.addresses = Addresses(**self.twin.load()["home"])
        self.overrides = place / "overrides.yaml"
        self.guest = home.fleet.with_role("vaultwarden")[0].name

    def deploy(self, *options: str, **values: Any) -> Done:
        """A deploy of its guest with other values of group_data."""
        return self.home.deploy("--limit", self.guest, *options, env=self.tuned(**values))

    def tuned(self, **values: Any) -> dict[str, str]:
        """The environment of a run with other values of group_data."""
        return self.home.with_values(self.overrides, **values)

    def image(self, tag: str) -> str:
        """A stand-in image."""
        return registry.reference(self.twin, self.addresses, tag)

    def said(self, command: str) -> str:
        """What a command on its guest says."""
        return self.home.said(self.guest, command)

    @property
    def process(self) -> str:
        """Its process."""
        return self.said(f"systemctl show -p MainPID --value {UNIT}")

    @property
    def version(self) -> str:
        """Which stand-in answers."""
        config = json.loads(self.said(f"curl -sf --noproxy '*' {PLAIN}/api/config"))
        return str(config["server"]["version"])

    def users(self) -> list[str]:
        """Who has an account, by its database."""
        return self.said(f"sqlite3 -readonly {DATA}/db.sqlite3 'select email from users order by 1'").split()

    def piped(self, command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A command on its guest, fed and read as bytes."""
        return subprocess.run(
            self.home.ssh(self.guest, command), input=stdin, capture_output=True, timeout=180, check=False
        )

    @contextmanager
    def invites(self) -> Iterator[list[int]]:
        """The admin invites people without a pause; how many there were, at the end."""
        token, count = self.home.secret("vaultwarden/admin-token"), [0]
        script = (
            f"read token; cd $(mktemp -d); ask='curl -sf --noproxy *'; set -f; "
            f"$ask -o page -c jar -d token=$token {PLAIN}/admin "
            "|| exit; i=0; while read -t 0.001 more; [ $? -gt 128 ]; do i=$((i+1)); "
            "$ask -o /dev/null -b jar "
            "-H 'Content-Type: application/json' "
            f'-d "{{\\"email\\": \\"load-$i@example.org\\"}}" {PLAIN}/admin/invite || exit; '
            "echo $i; done; rm -r $PWD"
        )
        writer = subprocess.Popen(
            self.home.ssh(self.guest, script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdin and writer.stdout
        writer.stdin.write(f"{token}\n")
        writer.stdin.flush()
        assert writer.stdout.readline().strip() == "1", "the admin page took the token"
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(writer.stdout or ()), daemon=True)
        reader.start()
        try:
            yield count
        finally:
            writer.stdin.close()
            writer.wait(60)
            reader.join(10)
            count[0] = len(seen) + 1


@pytest.fixture(scope="module")
def vault(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """The vault, as it was before at the end."""
    found = Vault(home, tmp_path_factory.mktemp("vault"))
    yield found
    found.deploy().went_well()
    found.said(f"sqlite3 {DATA}/db.sqlite3 'delete from users; delete from invitations'")
    found.said(f"rm -rf {DATA}/attachments {DATA}.before-*")


def test_a_setting_restarts_it_and_nothing_else(vault: Vault) -> None:
    vault.deploy().silent()
    process, front = vault.process, vault.said("systemctl show -p MainPID --value haproxy")
    vault.deploy(vaultwarden_settings={"INVITATION_EXPIRATION_HOURS": 48}).went_well()
    assert vault.process != process
    assert vault.said("systemctl show -p MainPID --value haproxy") == front


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"vaultwarden_settings": {"DATABASE_MAX_CONNS": 0}},
            "`DATABASE_MAX_CONNS` contains an invalid value",
        ),
        ({"vaultwarden_log_level": "loud"}, "LOG_LEVEL should follow the format"),
    ],
    ids=["setting", "level"],
)
def test_broken_settings_are_refused_in_its_own_words(
    vault: Vault, values: dict[str, Any], words: str
) -> None:
    before = vault.process, vault.said("sha256sum /etc/vaultwarden/environment")
    vault.deploy(**values).refused(words, "kept as it was")
    assert (vault.process, vault.said("sha256sum /etc/vaultwarden/environment")) == before
    assert vault.said(f"ls -d {DATA}.try.* 2>/dev/null || :") == "", "the copy is taken away"


def test_an_image_is_updated_by_its_digest(vault: Vault) -> None:
    vault.deploy().went_well()
    assert vault.version == "1"
    vault.said(f"sqlite3 {DATA}/db.sqlite3 \"delete from {CONVERTED} where version > '1'\"")
    vault.deploy(vaultwarden_image=vault.image("2")).went_well()
    assert vault.version == "2"
    found = vault.said(
        f"sqlite3 -readonly {DATA}.upgrade/before/db.sqlite3 "
        "'select max(version) from __diesel_schema_migrations'"
    )
    assert found == "1", "the vault from before the update is kept"


def test_an_image_that_does_not_start_never_replaces_the_one_that_runs(vault: Vault) -> None:
    version, process = vault.version, vault.process
    done = vault.deploy(vaultwarden_image=vault.image("broken"))
    done.refused("the database of this version cannot be opened", "kept as it was")
    assert (vault.version, vault.process) == (version, process)


def test_an_image_that_fails_at_its_work_is_taken_back(vault: Vault) -> None:
    vault.deploy().refused("cannot downgrade vaultwarden", "--data downgrade=vaultwarden")
    assert vault.version == "2"
    vault.deploy("--data", "downgrade=vaultwarden").went_well()
    vault.deploy(vaultwarden_image=vault.image("sick"), vaultwarden_starts_within=15).refused(
        "this version is broken", "went back to"
    )
    assert vault.version == "1"
    assert vault.said(f"curl -s -o /dev/null -w '%{{http_code}}' --noproxy '*' {PLAIN}/alive") == "200"
    vault.deploy().went_well()


def test_an_image_of_another_digest_is_refused(vault: Vault) -> None:
    version = vault.version
    wrong = vault.image("2").rpartition(":")[0] + ":" + "0" * 64
    vault.deploy(vaultwarden_image=wrong).refused("manifest unknown")
    assert vault.version == version


def test_a_dump_under_load_is_whole_and_brings_the_vault_back(vault: Vault, tmp_path: Path) -> None:
    vault.said(
        f"umask 077; mkdir -p {DATA}/attachments/x && echo secret >{DATA}/attachments/x/y "
        f"&& chown -R vaultwarden: {DATA}/attachments"
    )
    with vault.invites() as count:
        until(lambda: len(vault.users()) > 10, BACK)
        dump = vault.piped(DUMP)
    assert dump.returncode == 0, dump.stderr.decode()
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=dump.stdout, check=True)
    look = ["sqlite3", str(tmp_path / "db.sqlite3"), "pragma integrity_check; select count(*) from users"]
    found = subprocess.run(look, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "ok"
    assert 10 < int(found[1]) < count[0], "it was written on meanwhile"
    assert (tmp_path / "attachments/x/y").read_text() == "secret\n"
    vault.said(f"rm -r {DATA}/attachments; ls -d {DATA}.before-2* 2>/dev/null && exit 1 || :")

    restored = vault.piped(RESTORE, dump.stdout)
    assert restored.returncode == 0, restored.stderr.decode()
    assert len(vault.users()) == int(found[1])
    assert vault.said(f"stat -c '%U %a' {DATA} {DATA}/attachments/x/y").split("\n") == [
        "vaultwarden 700",
        "vaultwarden 600",
    ]
    aside = vault.said(f"sqlite3 -readonly {DATA}.before-2*/db.sqlite3 'select count(*) from users'")
    assert int(aside) >= count[0], "the old vault is kept aside"
    until(lambda: vault.version == "1", BACK)


@pytest.mark.parametrize("what", ["nothing", "cut", "no database", "damaged"])
def test_a_dump_that_is_none_harms_nothing(vault: Vault, what: str, tmp_path: Path) -> None:
    before = vault.process, vault.users()
    whole = vault.piped(DUMP).stdout
    (tmp_path / "db.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 8192)
    (tmp_path / "other").touch()
    made = {
        name: subprocess.run(["tar", "-c", "-C", str(tmp_path), file], capture_output=True, check=True).stdout
        for name, file in (("no database", "other"), ("damaged", "db.sqlite3"))
    }
    done = vault.piped(RESTORE, {"nothing": b"", "cut": whole[: len(whole) // 2], **made}[what])
    assert done.returncode != 0
    assert b"cannot restore the vault" in done.stderr
    assert (vault.process, vault.users()) == before


def test_a_restarted_guest_brings_it_back(vault: Vault) -> None:
    vault.home.task("POST", vault.guest, "/status/shutdown", timeout=60)
    vault.home.task("POST", vault.guest, "/status/start")
    until(lambda: vault.home.ends(vault.guest, f"curl -sf --noproxy '*' {PLAIN}/alive") == 0, BACK)
    process = vault.process
    vault.deploy().went_well()
    assert vault.process == process, "nothing was left for a deploy to mend"

"""The central journal, by the real programs: who gets in, what is kept apart, that nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitor_kit import environment, folder, listens, put, running, until
from ops_kit import Absent, preparing
from role_kit import FakeRun, dual, fleet, group_data, guest

from hearth import run as runs
from hearth.errors import HearthError
from hearth.pki.certificates import certificate_pem, key_pem
from hearth.role.here import Here
from roles import central_journal, journal_upload
from tests.ports import free_port

pytestmark = pytest.mark.slow

REMOTE, UPLOAD = "/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-upload"
BOOT = "0123456789abcdef0123456789abcdef"
MIB = 1024 * 1024
COMMS, DATA = "127.168.1.135", "127.168.1.139"


def a_run() -> FakeRun:
    return FakeRun(
        fleet(
            guest("localhost", 137, "journal_upload", "central_journal"),
            guest("comms", 135, "journal_upload"),
            guest("data", 139, "journal_upload"),
        )
    )


def entries(count: int, word: str = "entry", first: int = 0) -> str:
    """Entries in the journal's export format (systemd.io/JOURNAL_EXPORT_FORMATS)."""
    return "".join(
        f"__REALTIME_TIMESTAMP={1_796_030_000_000_000 + number * 1000}\n"
        f"__MONOTONIC_TIMESTAMP={number * 1000 + 1}\n_BOOT_ID={BOOT}\n"
        f"MESSAGE={word} {number}\nPRIORITY=6\n_HOSTNAME=pretender\n\n"
        for number in range(first, first + count)
    )


class Server:
    """journal-remote behind its gate, as the role writes them, on loopback."""

    def __init__(self, root: Path, run: FakeRun) -> None:
        self.root, self.run = root, run
        self.port, self.behind = free_port(), free_port()
        self.journals = root / "journals"
        self.journals.mkdir()
        self.ca = root / "ca.crt"
        self.ca.write_text(run.authority.ca_pem)
        for name in ("comms", "data"):
            leaf = run.authority.client_leaf(name)
            self.credentials(name, leaf.cert_pem, leaf.key_pem.reveal())

    def credentials(self, name: str, certificate: str, key: str) -> None:
        """A certificate and its key, for curl and journal-upload."""
        (self.root / f"{name}.crt").write_text(certificate)
        (self.root / f"{name}.key").write_text(key)

    def size(self) -> int:
        """Bytes that the journals take on disk."""
        return sum(path.stat().st_blocks * 512 for path in self.journals.iterdir())

    @contextlib.contextmanager
    def remote(self) -> Iterator[subprocess.Popen[bytes]]:
        """journal-remote, with the role's own command line."""
        here = self.run.here("localhost", "central_journal")
        unit = here.render("journal-central.service.j2", **central_journal.places(here))
        (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
        line = line.replace(str(central_journal.BEHIND), str(self.behind))
        line = line.replace(central_journal.JOURNALS, str(self.journals))
        with running(*line.removeprefix("ExecStart=").split(), log=self.root / "remote.log") as process:
            until(lambda: listens(self.behind), why=(self.root / "remote.log").read_text)
            yield process

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """HAProxy before it."""
        here = self.run.here("localhost", "central_journal")
        moved = {
            "*:19532": f"127.0.0.1:{self.port}",
            f"127.0.0.1:{central_journal.BEHIND}": f"127.0.0.1:{self.behind}",
            central_journal.AUTHORITY: str(self.ca),
        }
        put(self.root, central_journal.gate_files(here), moved)
        config = f"{self.root}{central_journal.FOLDER}/gate.cfg"
        with running("haproxy", "-db", "-f", config, log=self.root / "gate.log"):
            until(lambda: listens(self.port), why=(self.root / "gate.log").read_text)
            yield

    def sent(self, text: str, who: str | None) -> str:
        """The status that an upload gets; "000" where the connection is not taken."""
        command = [
            "curl",
            "-s",
            "--noproxy",
            "*",
            "--cacert",
            self.ca,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ]
        command += ["-H", "Content-Type: application/vnd.fdo.journal", "--data-binary", "@-"]
        command += ["--cert", self.root / f"{who}.crt", "--key", self.root / f"{who}.key"] if who else []
        command += [f"https://localhost:{self.port}/upload"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def found(self, source: str) -> list[str]:
        """The messages of a sender's files."""
        files = [f"--file={path}" for path in self.journals.glob(f"remote-{source}*.journal")]
        if not files:
            return []
        command = ["journalctl", *files, "-o", "json", "--no-pager", "-q"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        return [str(json.loads(line)["MESSAGE"]) for line in lines]


@pytest.fixture
def server() -> Iterator[Server]:
    with folder() as root:
        yield Server(root, a_run())


def test_each_guest_has_files_of_its_own_whatever_it_says_of_itself(server: Server) -> None:
    with server.remote(), server.gate():
        assert server.sent(entries(3, "of comms"), "comms") in ("200", "202")
        assert server.sent(entries(2, "of data"), "data") in ("200", "202")
        assert server.found(COMMS) == ["of comms 0", "of comms 1", "of comms 2"]
        assert server.found(DATA) == ["of data 0", "of data 1"]


def test_strangers_get_in_with_no_certificate_of_any_kind(server: Server) -> None:
    certificate, key = server.run.authority.client("comms")  # a phone's: the same authority, the same name
    server.credentials("phone", certificate_pem(certificate), key_pem(key))
    other = a_run().authority.client_leaf("comms")
    server.credentials("other", other.cert_pem, other.key_pem.reveal())
    leaf = server.run.authority.leaf("comms", [], [])  # a server's
    server.credentials("leaf", leaf.cert_pem, leaf.key_pem.reveal())
    with server.remote(), server.gate():
        for who in (None, "phone", "other", "leaf"):
            assert server.sent(entries(1, "strange"), who) == "000", who
        assert list(server.journals.iterdir()) == []
        assert server.sent(entries(1), "comms") in ("200", "202")


def test_it_speaks_no_old_tls(server: Server) -> None:
    with server.remote(), server.gate():
        for version, well in (("1.1", False), ("1.2", True), ("1.3", True)):
            command = ["curl", "-sS", "--noproxy", "*", "--cacert", server.ca, "--tls-max", version]
            command += ["--cert", server.root / "comms.crt", "--key", server.root / "comms.key"]
            command += ["--ciphers", "DEFAULT@SECLEVEL=0", f"https://localhost:{server.port}/"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode == 0) is well, version
            # For its version: the ciphers alone would keep it out too, in other words.
            assert well or "alert protocol version" in done.stderr


def source(root: Path, text: str) -> Path:
    """A folder with a journal that has these entries, as a guest's own."""
    place = root / "own"
    place.mkdir(exist_ok=True)
    subprocess.run([REMOTE, f"--output={place}/own.journal", "-"], input=text, text=True, check=True)
    return place


@contextlib.contextmanager
def uploading(server: Server, journal: Path) -> Iterator[subprocess.Popen[bytes]]:
    """journal-upload with the role's own command line, from a folder, as comms; it always comes back."""
    here = server.run.here("comms", "journal_upload")
    unit = here.render("journal-upload.service.j2", **journal_upload.places(here))
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    moved = {
        journal_upload.STATE: str(server.root),
        f"{journal_upload.FOLDER}/client": f"{server.root}/comms",
        journal_upload.AUTHORITY: str(server.ca),
        "localhost:19532": f"localhost:{server.port}",
    }
    for old, new in moved.items():
        line = line.replace(old, new)
    words = [*line.removeprefix("ExecStart=").split(), f"--directory={journal}", "--follow"]
    loop = [
        "sh",
        "-c",
        "trap 'kill $p; exit' TERM; while :; do \"$@\" & p=$!; wait $p; sleep 0.5; done",
        "sh",
    ]
    with running(*loop, *words, log=server.root / "upload.log", env=environment()) as process:
        yield process


@pytest.mark.slow
def test_a_line_is_there_within_ten_seconds(server: Server) -> None:
    journal = source(server.root, entries(5))
    with server.remote(), server.gate(), uploading(server, journal):
        until(lambda: len(server.found(COMMS)) == 5, why=(server.root / "upload.log").read_text)
        source(server.root, entries(1, "late", 100))
        began = time.monotonic()
        until(
            lambda: "late 100" in server.found(COMMS), within=10, why=(server.root / "upload.log").read_text
        )
        assert time.monotonic() - began < 10


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_a_server_that_is_cut_off_in_the_middle_loses_nothing(server: Server, how: signal.Signals) -> None:
    count = 60_000
    journal = source(server.root, entries(count))

    def there() -> int:
        return len(set(server.found(COMMS)))

    with server.gate(), uploading(server, journal):
        with server.remote() as process:
            until(lambda: server.size() > 12 * MIB, why=(server.root / "upload.log").read_text)
            process.send_signal(how)
            process.wait(10)
        assert 0 < there() < count, "it was to be cut off in the middle"
        source(server.root, entries(10, "meanwhile", count))
        time.sleep(1)
        with server.remote():
            until(
                lambda: there() == count + 10,
                within=90,
                why=lambda: f"{there()} {(server.root / 'upload.log').read_text()}",
            )


@pytest.mark.slow
def test_the_limits_hold_in_a_flood(server: Server) -> None:
    """What is no longer written goes, oldest first; what is written has a size of its own."""
    here = server.run.here("localhost", "central_journal", central_journal_size="700M")
    archived = central_journal.archived(here)
    assert archived == 700 - 3 * 128 - 128
    script = here.render("limits.sh.j2", **central_journal.places(here))
    script = script.replace(central_journal.JOURNALS, str(server.journals)).replace(f"{archived}M", "60M")
    largest = 0
    with server.remote(), server.gate():
        for number in range(12):
            # Random, so that nothing can be compressed away: 30 MiB each.
            text = entries(20_000, f"{number} {os.urandom(16).hex()}", number * 20_000)
            text = re.sub("^MESSAGE=", lambda _: f"NOISE={os.urandom(500).hex()}\nMESSAGE=", text, flags=re.M)
            assert server.sent(text, "comms") in ("200", "202")
            subprocess.run(["sh", "-c", script], check=True)
            largest = max(largest, server.size())
        found = server.found(COMMS)
    assert found[-1].endswith(" 239999")
    assert not found[0].endswith(" 0"), "the oldest are gone"
    assert 50 * MIB < largest < (60 + central_journal.ACTIVE + central_journal.MARGIN) * MIB, largest / MIB
    assert server.size() < (60 + central_journal.ACTIVE) * MIB


# ------------------------------------------------------------------------- what is rendered


def test_haproxy_accepts_its_configuration(server: Server) -> None:
    here = a_run().here("localhost", "central_journal")
    put(server.root, central_journal.gate_files(here), {central_journal.AUTHORITY: str(server.ca)})
    config = f"{server.root}{central_journal.FOLDER}/gate.cfg"
    done = subprocess.run(["haproxy", "-c", "-f", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_listens_on_ipv6_where_the_guest_has_it() -> None:
    run = FakeRun(fleet(dual("here", 137, "journal_upload", "central_journal")))
    text = central_journal.gate_files(run.here("here", "central_journal"))[0].text
    assert "bind [::]:19532 v6only" in text
    assert "[::]" not in central_journal.gate_files(a_run().here("localhost", "central_journal"))[0].text


@pytest.mark.parametrize("size", ["100M", "500M", "4", "", "4T", "-1G", None])
def test_a_limit_that_would_not_hold_is_refused(size: Any) -> None:
    with pytest.raises(HearthError, match="central_journal_size"):
        central_journal.archived(a_run().here("localhost", "central_journal", central_journal_size=size))


def test_two_guests_that_would_share_a_file_are_refused() -> None:
    run = FakeRun(
        fleet(
            guest("here", 137, "journal_upload", "central_journal"),
            guest("there", 150, "journal_upload", address="10.168.1.137"),
        )
    )
    with pytest.raises(HearthError, match="apart"):
        central_journal.senders(run.here("here", "central_journal"))


def test_a_guest_without_a_fixed_address_is_refused() -> None:
    run = FakeRun(
        fleet(
            guest("here", 137, "journal_upload", "central_journal"),
            guest("roaming", 150, "journal_upload", address="dhcp"),
        )
    )
    with pytest.raises(HearthError, match="roaming"):
        central_journal.senders(run.here("here", "central_journal"))


def test_two_servers_are_refused() -> None:
    run = FakeRun(fleet(guest("one", 150, "central_journal"), guest("two", 151, "central_journal")))
    with pytest.raises(HearthError, match="one guest"):
        central_journal.central_journal(run.here("one", "central_journal"))


@pytest.mark.parametrize(("name", "where"), [("central_journal", "localhost"), ("journal_upload", "comms")])
def test_all_of_it_is_planned_on_a_guest_that_does_not_exist(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run()
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        run.roles[name].deployer(Here(run, run.fleet.guest(where), host, run.roles[name]))  # type: ignore[misc]
        changes = [data.operation_meta.will_change for data in host.state.ops[host].values()]
    assert changes
    assert all(changes)

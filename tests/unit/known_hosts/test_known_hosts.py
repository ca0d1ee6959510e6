"""The known_hosts file: first sight, forgetting, and changes that are errors."""

import multiprocessing
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko import ECDSAKey, PKey, RSAKey
from paramiko.common import AUTH_SUCCESSFUL
from pyinfra.connectors.sshuserclient.client import SSHClient as PyinfraClient
from pyinfra.connectors.sshuserclient.client import get_host_keys

from hearth.errors import HearthError
from hearth.known_hosts import ChangedHostKeyError, KnownHosts

GUEST = "192.0.2.135"


@pytest.fixture(scope="module")
def key() -> PKey:
    return ECDSAKey.generate()


@pytest.fixture(scope="module")
def other() -> PKey:
    return ECDSAKey.generate()


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "state" / "known_hosts")


def test_nothing_is_known_and_asking_writes_nothing(known: KnownHosts, key: PKey) -> None:
    assert known.knows(GUEST) is False
    assert known.verify(GUEST, key) is False
    assert known.forget(GUEST) is False
    assert not known.path.parent.exists()


def test_remembered_on_first_sight(known: KnownHosts, key: PKey) -> None:
    known.remember(GUEST, key)
    known.remember(GUEST, key)
    assert KnownHosts(known.path).verify(GUEST, key) is True
    assert len(known.path.read_text().splitlines()) == 1
    assert known.path.stat().st_mode & 0o777 == 0o600


def test_openssh_reads_the_file(known: KnownHosts, key: PKey) -> None:
    known.remember(GUEST, key)
    known.remember(GUEST, key, 2222)
    for name in (GUEST, f"[{GUEST}]:2222"):
        found = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", known.path], capture_output=True, text=True, check=True
        )
        assert key.get_base64() in found.stdout


def test_changed_key_is_an_error_with_line_and_command(known: KnownHosts, key: PKey, other: PKey) -> None:
    known.remember("192.0.2.1", other)
    known.remember(GUEST, key)
    before = known.path.read_bytes()
    for refused in (known.verify, known.remember):
        with pytest.raises(ChangedHostKeyError) as caught:
            refused(GUEST, other)
        assert f"line 2 of {known.path}" in caught.value.reason
    assert known.path.read_bytes() == before


def test_the_remedy_is_a_command_that_works(tmp_path: Path, key: PKey, other: PKey) -> None:
    known = KnownHosts(tmp_path / "a folder; with 'odd' name" / "known_hosts")
    known.remember(GUEST, key, 2222)
    known.remember("192.0.2.1", other)
    error = known.changed(GUEST, 2222)
    command = re.search(r"ssh-keygen -R .*?(?=; if not)", error.remedy)
    assert command
    subprocess.run(shlex.split(command[0]), check=True, capture_output=True)
    assert known.verify(GUEST, other, 2222) is False
    assert known.knows("192.0.2.1")


def test_another_type_of_key_is_a_change_too(known: KnownHosts, key: PKey) -> None:
    known.remember(GUEST, key)
    with pytest.raises(ChangedHostKeyError):
        known.verify(GUEST, RSAKey.generate(2048))


def test_one_of_several_known_keys_suffices(known: KnownHosts, key: PKey, other: PKey) -> None:
    known.remember(GUEST, key)
    with known.path.open("a") as file:
        file.write(f"{GUEST} {other.get_name()} {other.get_base64()}\n")
    assert known.verify(GUEST, key)
    assert known.verify(GUEST, other)


def test_forgotten_before_it_is_created_again(known: KnownHosts, key: PKey, other: PKey) -> None:
    known.remember(GUEST, key)
    known.remember("192.0.2.13", key)
    assert known.forget(GUEST) is True
    assert known.verify(GUEST, other) is False
    known.remember(GUEST, other)
    assert known.verify(GUEST, other)
    assert known.verify("192.0.2.13", key)


def test_ports_are_apart(known: KnownHosts, key: PKey, other: PKey) -> None:
    known.remember(GUEST, key)
    known.remember(GUEST, other, 2222)
    assert known.forget(GUEST)
    assert known.verify(GUEST, other, 2222)
    assert known.verify(GUEST, other) is False


def test_lines_of_others_stay(known: KnownHosts, key: PKey) -> None:
    known.path.parent.mkdir()
    others = f"# mine\n\n@cert-authority *.example {key.get_name()} {key.get_base64()}\nnonsense\n"
    known.path.write_text(others)
    known.remember(GUEST, key)
    assert known.path.read_text().startswith(others)
    known.forget(GUEST)
    assert known.path.read_text() == others


def test_hashed_lines_count(known: KnownHosts, key: PKey, other: PKey) -> None:
    known.remember(GUEST, key)
    subprocess.run(["ssh-keygen", "-H", "-f", known.path], check=True, capture_output=True)
    assert GUEST not in known.path.read_text()
    assert known.verify(GUEST, key)
    with pytest.raises(ChangedHostKeyError):
        known.verify(GUEST, other)
    assert known.forget(GUEST)
    assert not known.knows(GUEST)


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"\x80" * 50])
def test_damaged_file_is_a_clear_error_and_stays(known: KnownHosts, key: PKey, content: bytes) -> None:
    known.path.parent.mkdir()
    known.path.write_bytes(content)
    for act in (known.knows, known.forget):
        with pytest.raises(HearthError, match="known_hosts"):
            act(GUEST)
    with pytest.raises(HearthError):
        known.remember(GUEST, key)
    assert known.path.read_bytes() == content


def test_unwritable_place_is_a_clear_error(tmp_path: Path, key: PKey) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(HearthError, match="known_hosts"):
        KnownHosts(tmp_path / "state" / "known_hosts").remember(GUEST, key)


def _remember(path: Path, number: int, key: PKey) -> None:
    KnownHosts(path).remember(f"192.0.2.{number}", key)


def test_many_at_once_lose_nothing(known: KnownHosts, key: PKey) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_remember, args=(known.path, number, key)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert len(known.path.read_text().splitlines()) == 8


# ----------------------------------------------------- with pyinfra's SSH client


class Server(paramiko.ServerInterface):
    """An SSH server that lets everybody in."""

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "password"


class Daemon:
    """Listens on loopback; `key` may be changed, as if the guest had been made anew."""

    def __init__(self, key: PKey) -> None:
        self.key = key
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.transports: list[paramiko.Transport] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            self.transports.append(transport)
            try:
                transport.start_server(server=Server())
            except (paramiko.SSHException, EOFError, OSError):
                continue

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        for transport in self.transports:
            transport.close()


@pytest.fixture
def daemon(key: PKey) -> Iterator[Daemon]:
    server = Daemon(key)
    yield server
    server.stop()


def connect(daemon: Daemon, known: KnownHosts, strict: str = "accept-new") -> None:
    """Connect as pyinfra's SSH connector does, and close."""
    client = PyinfraClient()
    try:
        client.connect(
            "127.0.0.1",
            port=daemon.port,
            username="root",
            password="x",
            allow_agent=False,
            look_for_keys=False,
            _pyinfra_ssh_known_hosts_file=str(known.path),
            _pyinfra_ssh_config_file="/nonexistent",
            _pyinfra_ssh_strict_host_key_checking=strict,
        )
    finally:
        client.close()


def test_pyinfra_is_refused_by_a_changed_key_until_it_is_forgotten(
    daemon: Daemon, known: KnownHosts, key: PKey, other: PKey
) -> None:
    known.remember("127.0.0.1", key, daemon.port)
    connect(daemon, known, strict="yes")
    daemon.key = other
    with pytest.raises(paramiko.BadHostKeyException):
        connect(daemon, known)
    assert f"line 1 of {known.path}" in str(known.changed("127.0.0.1", daemon.port))
    known.forget("127.0.0.1", daemon.port)
    connect(daemon, known)
    assert known.verify("127.0.0.1", other, daemon.port)


def test_what_is_remembered_counts_at_once_although_pyinfra_keeps_what_it_read(
    daemon: Daemon, known: KnownHosts, key: PKey
) -> None:
    known.remember("192.0.2.1", key)
    get_host_keys((str(known.path),))
    known.remember("127.0.0.1", key, daemon.port)
    connect(daemon, known, strict="yes")


def test_policy_accepts_quietly_and_remembers(daemon: Daemon, known: KnownHosts, key: PKey) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(known.policy())
    client.connect("127.0.0.1", daemon.port, "root", "x", allow_agent=False, look_for_keys=False)
    client.close()
    assert known.verify("127.0.0.1", key, daemon.port)


def test_policy_refuses_a_changed_key(daemon: Daemon, known: KnownHosts, other: PKey) -> None:
    known.remember("127.0.0.1", other, daemon.port)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(known.policy())
    with pytest.raises(ChangedHostKeyError):
        client.connect("127.0.0.1", daemon.port, "root", "x", allow_agent=False, look_for_keys=False)
    client.close()

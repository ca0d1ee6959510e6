"""The project's own known_hosts file: which SSH key each guest and node has.

A key is accepted on first sight, and forgotten before the guest is created again. Any other change is
an error. The format is OpenSSH's (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT); other lines are kept as they are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paramiko import HostKeys, MissingHostKeyPolicy, PKey, SSHClient
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from pyinfra.connectors.sshuserclient import client as pyinfra_client

from hearth.durable import locked, write_durably
from hearth.errors import HearthError

SSH_PORT = 22


class ChangedHostKeyError(HearthError):
    """A machine that we know shows another SSH key."""


@dataclass(frozen=True)
class Line:
    """A line of the file; `entry` is None for comments and for what is no entry."""

    number: int
    text: str
    entry: HostKeyEntry | None


def forget_memo() -> None:
    """Make pyinfra read known_hosts files again: 3.10 keeps what it once read (get_host_keys)."""
    pyinfra_client.get_host_keys.cache.clear()


def entry_name(address: str, port: int = SSH_PORT) -> str:
    """The address as known_hosts has it: `[address]:port` unless the port is 22."""
    return address if port == SSH_PORT else f"[{address}]:{port}"


class KnownHosts:
    """The file. Every question reads it, every change is written under a lock at once.

    Args:
        path: the file; it and its directory may be absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def knows(self, address: str, port: int = SSH_PORT) -> bool:
        """True when any key of this address is known."""
        return bool(_of(self._lines(), entry_name(address, port)))

    def lines(self, address: str, port: int = SSH_PORT) -> tuple[str, ...]:
        """What is known of an address, as a file for another machine has it."""
        return tuple(line.text for line in _of(self._lines(), entry_name(address, port)))

    def verify(self, address: str, key: PKey, port: int = SSH_PORT) -> bool:
        """Compare the key that a server shows with what we know.

        Returns:
            True: it is the known one. False: this server was never seen.

        Raises:
            ChangedHostKeyError: another key is known.
        """
        lines = _of(self._lines(), entry_name(address, port))
        if not lines:
            return False
        if any(line.entry and line.entry.key == key for line in lines):
            return True
        raise self._changed(address, port, lines[0].number)

    def remember(self, address: str, key: PKey, port: int = SSH_PORT) -> None:
        """Add the key of a server that was never seen; nothing happens when it is known already.

        Raises:
            ChangedHostKeyError: another key is known.
            HearthError: the file cannot be written.
        """
        with self._writing():
            if self.verify(address, key, port):
                return
            text = HostKeyEntry([entry_name(address, port)], key).to_line() or ""
            self._write([*(line.text for line in self._lines()), text.rstrip("\n")])

    def forget(self, address: str, port: int = SSH_PORT) -> bool:
        """Remove every key of this address: it is about to be created anew.

        Returns:
            True when there was one.

        Raises:
            HearthError: the file cannot be written.
        """
        if not self.knows(address, port):
            return False
        with self._writing():
            lines = self._lines()
            gone = {line.number for line in _of(lines, entry_name(address, port))}
            self._write([line.text for line in lines if line.number not in gone])
        return True

    def changed(self, address: str, port: int = SSH_PORT) -> ChangedHostKeyError:
        """The error for a server whose key is not the known one (for paramiko's BadHostKeyException)."""
        lines = _of(self._lines(), entry_name(address, port))
        return self._changed(address, port, lines[0].number if lines else None)

    def policy(self) -> MissingHostKeyPolicy:
        """A paramiko policy: accept on first sight, quietly, and remember."""
        return _Remember(self)

    # ----------------------------------------------------------------- internal

    def _changed(self, address: str, port: int, number: int | None) -> ChangedHostKeyError:
        name = entry_name(address, port)
        where = f"line {number} of {self.path}" if number else f"{self.path}"
        command = f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(str(self.path))}"
        return ChangedHostKeyError(
            f"trust the SSH server {name}",
            f"its key is not the one in {where}, and Hearth has not created this machine anew",
            f"if you have reinstalled it yourself: {command}; if not, somebody may stand between",
        )

    def _lines(self) -> list[Line]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise HearthError(f"read {self.path}", _reason(error), "it must be a known_hosts file") from None
        return [Line(number, line, _parse(line, number)) for number, line in enumerate(text.splitlines(), 1)]

    def _write(self, lines: list[str]) -> None:
        write_durably(self.path, "".join(f"{line}\n" for line in lines).encode())
        forget_memo()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.path.parent):
                yield
        except OSError as error:
            raise HearthError(f"write {self.path}", _reason(error)) from None


class _Remember(MissingHostKeyPolicy):
    """Accept a key on first sight and write it down."""

    def __init__(self, known_hosts: KnownHosts) -> None:
        self._known_hosts = known_hosts

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Called by paramiko with the entry's name: `[address]:port` unless the port is 22."""
        address, port = _split(hostname)
        self._known_hosts.remember(address, key, port)


def _split(name: str) -> tuple[str, int]:
    if not name.startswith("["):
        return name, SSH_PORT
    address, _, port = name[1:].rpartition("]:")
    return address, int(port)


def _parse(line: str, number: int) -> HostKeyEntry | None:
    if not line.strip() or line.lstrip().startswith(("#", "@")):
        return None
    try:
        return HostKeyEntry.from_line(line, number)
    except (InvalidHostKey, ValueError):
        return None


def _of(lines: list[Line], name: str) -> list[Line]:
    return [
        line for line in lines if line.entry and any(_matches(given, name) for given in _names(line.entry))
    ]


def _names(entry: HostKeyEntry) -> list[str]:
    return list(entry.hostnames or ())


def _matches(given: str, name: str) -> bool:
    if given.startswith("|1|"):
        return HostKeys.hash_host(name, given) == given
    return given == name


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is not text"

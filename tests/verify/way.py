"""A way to a guest's port: this machine's own, or, where the walls keep it out, the guest's to itself."""

from __future__ import annotations

import shlex
import socket
import threading

import paramiko
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

LONGEST = 120  # seconds that a check holds a connection; then nothing of it is left on the guest
THERE = b"+"
CARRIED = 65_536  # bytes at a time
# Forwarding by SSH is switched off on the guests.
SCRIPT = "exec 3<>/dev/tcp/{address}/{port} && printf + && {{ cat >&3 <&0 & cat <&3; }}"


def connect(under_test: UnderTest, guest: Guest, port: int) -> socket.socket:
    """A TCP connection to a port of a guest.

    Raises:
        OSError: nobody accepts.
    """
    address = address_of(guest)
    if under_test.may_reach(guest, port):
        return socket.create_connection((address, port), TIMEOUT)
    script = shlex.quote(SCRIPT.format(address=address, port=port))
    return carried(under_test.login(guest), f"timeout {LONGEST} bash -c {script}")


def carried(client: paramiko.SSHClient, command: str) -> socket.socket:
    """A socket whose other end is a command on a guest, which says `+` when it is connected."""
    # A channel of its own: exec_command's stdin would close it as soon as nobody holds that file.
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=TIMEOUT)
    channel.settimeout(TIMEOUT)
    channel.exec_command(command)
    if channel.recv(1) != THERE:
        said = channel.recv_stderr(CARRIED).decode(errors="replace").strip()
        client.close()
        raise ConnectionRefusedError(said)
    ours, theirs = socket.socketpair()
    ours.settimeout(TIMEOUT)
    channel.settimeout(LONGEST)
    for carry in (_out, _in):
        threading.Thread(target=carry, args=(theirs, channel, client), daemon=True).start()
    return ours


def _out(theirs: socket.socket, channel: paramiko.Channel, client: paramiko.SSHClient) -> None:
    try:
        while data := theirs.recv(CARRIED):
            channel.sendall(data)
    except OSError:
        pass  # the other direction has ended it
    finally:
        client.close()


def _in(theirs: socket.socket, channel: paramiko.Channel, _: paramiko.SSHClient) -> None:
    try:
        while data := channel.recv(CARRIED):
            theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # whoever asked has hung up

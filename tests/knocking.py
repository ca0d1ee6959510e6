"""Real sockets on both sides of a wall; runs as a program of its own inside a network namespace.

`serve` listens on ports of every address until its input ends; `knock` tries them from given addresses. Both
read a line of JSON. What a knock meets: "open"; "closed" (refused: the packet came through, nobody listens);
"silent" (nothing came back).
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import selectors
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

QUIET = 1.0  # seconds to wait for an answer that must not come, once all others have come
MOST = 30.0  # seconds to wait for one that must come
WORD = b"knock"
SOCKETS = 10_000  # at once, at most
ECHO = {4: 8, 6: 128}  # echo request, RFC 792 and RFC 4443
REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET)


@dataclass(frozen=True)
class Knock:
    """One try.

    Args:
        source: the address it comes from, with a zone where it needs one.
        target: the address it goes to.
        protocol: "tcp", "udp" or "ping".
        port: the port there; 0 for a ping.
        answer: whether one is expected: then it is waited for.
        source_port: the port it comes from; 0: any.
    """

    source: str
    target: str
    protocol: str
    port: int
    answer: bool
    source_port: int = 0

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def family(address: str) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(ports: list[tuple[str, int]], address: str = "") -> None:
    """Listen, say so, and echo datagrams until the input ends. A port that has a service keeps it.

    Args:
        ports: protocol and number of each.
        address: the one to listen on, else all. An echo comes from where the kernel likes.
    """
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for protocol, port in ports:
            for one in (family(address),) if address else (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):
                    listening = stack.enter_context(_listening(one, protocol, (address, port)))
                    if protocol == "udp":
                        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                with contextlib.suppress(OSError):
                    data, sender = key.fileobj.recvfrom(100)  # type: ignore[union-attr]
                    key.fileobj.sendto(data, sender)  # type: ignore[union-attr]


def _listening(one: socket.AddressFamily, protocol: str, at: tuple[str, int]) -> socket.socket:
    found = socket.socket(one, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(at)
        if protocol == "tcp":
            found.listen(1000)
    except OSError:
        found.close()
        raise
    return found


def knock(knocks: list[Knock]) -> list[str]:
    """All tries at once; what each met."""
    met = ["silent"] * len(knocks)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number, one in enumerate(knocks):
            sock, at_once = _begin(one)
            stack.callback(sock.close)
            if at_once:
                met[number] = at_once
            else:
                event = selectors.EVENT_WRITE if one.protocol == "tcp" else selectors.EVENT_READ
                selector.register(sock, event, number)
        waited_for = {n for n, one in enumerate(knocks) if one.answer and met[n] == "silent"}
        end = quiet = time.monotonic() + MOST
        while (now := time.monotonic()) < min(end, quiet):
            if not waited_for:
                quiet = min(quiet, now + QUIET)
            for key, _ in selector.select(min(end, quiet) - now if waited_for else quiet - now):
                found = _meets(knocks[key.data], key.fileobj)
                if found:
                    met[key.data] = found
                    waited_for.discard(key.data)
                    selector.unregister(key.fileobj)
    return met


def _begin(one: Knock) -> tuple[socket.socket, str]:
    at = family(one.source)
    if one.protocol == "ping":
        sock = socket.socket(at, socket.SOCK_RAW, _icmp(at))
    else:
        sock = socket.socket(at, socket.SOCK_STREAM if one.protocol == "tcp" else socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(socket.getaddrinfo(one.source, one.source_port, at)[0][4])
    target = socket.getaddrinfo(one.target, one.port, at)[0][4]
    try:
        sock.connect(target)
        if one.protocol != "tcp":
            sock.send(WORD if one.protocol == "udp" else _echo(at))
    except BlockingIOError:
        return sock, ""
    except OSError as error:
        return sock, errno.errorcode.get(error.errno or 0, "?")
    return sock, ""


def _meets(one: Knock, sock: Any) -> str:
    try:
        if one.protocol == "tcp":
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return "open" if code == 0 else "closed" if code in REFUSED else ""
        data = sock.recv(2000)
        return "open" if WORD in data and (one.protocol == "udp" or _is_reply(one, data)) else ""
    except OSError as error:
        return "closed" if error.errno in REFUSED else ""


def _icmp(at: socket.AddressFamily) -> int:
    return socket.IPPROTO_ICMP if at == socket.AF_INET else socket.IPPROTO_ICMPV6


def _echo(at: socket.AddressFamily) -> bytes:
    body = WORD + b"\0"
    if at == socket.AF_INET6:  # the kernel adds the checksum, RFC 3542
        return struct.pack("!BBHHH", ECHO[6], 0, 0, 1, 1) + body
    head = struct.pack("!BBHHH", ECHO[4], 0, 0, 1, 1)
    total = sum(struct.unpack(f"!{len(head + body) // 2}H", head + body))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBHHH", ECHO[4], 0, ~total & 0xFFFF, 1, 1) + body


def _is_reply(one: Knock, data: bytes) -> bool:
    kind = data[0] if family(one.source) == socket.AF_INET6 else data[20]
    return kind in (0, 129)  # echo reply; a socket on the same machine sees its own request too


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    if sys.argv[1] == "serve":
        serve([(protocol, port) for protocol, port in asked], *sys.argv[2:])
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOCKETS, SOCKETS))
        print(json.dumps(knock([Knock(**one) for one in asked])))

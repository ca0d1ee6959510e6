"""The front door: whatever guest serves a port, one address answers; behind it the client is known."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
from front_kit import BEHIND, DOOR, ELSEWHERE, a_front, a_port, a_program, a_run, fetch, hub, until
from role_kit import FakeRun, fleet, guest

from hearth.role.declaration import Port, Role

OTHER = "127.0.0.3"


def test_the_door_passes_on_tls_and_says_who_the_client_is() -> None:
    role = hub(door=True)
    number = role.provides[0].number
    fleet_run = a_run(role)
    with (
        a_program(role.provides[0].behind or 0),
        a_front(fleet_run, "comms") as front,
        a_front(fleet_run, "hall"),
    ):
        until(lambda: fetch(f"https://{DOOR}:{number}/x", **front.trusting("hall"))[0] == 200)
        for name in ("hall", "comms", DOOR):  # the certificate is that of the guest behind, for the door too
            _, said = fetch(f"https://{DOOR}:{number}/x", **front.trusting(name))
            assert said["headers"]["x-forwarded-for"] == [ELSEWHERE]
        _, said = fetch(
            f"https://{DOOR}:{number}/x", headers={"X-Forwarded-For": "10.9.9.9"}, **front.trusting()
        )
        assert said["headers"]["x-forwarded-for"] == [ELSEWHERE]


def test_the_second_guest_serves_while_the_first_is_away_and_the_first_again_when_it_is_back() -> None:
    role = hub(door=True)
    number, behind = role.provides[0].number, role.provides[0].behind or 0
    fleet_run = a_run(role, "second")
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(a_front(fleet_run, name)) for name in ("comms", "second"))
        # Both guests' programs would have one loopback: each has an address of its own here.
        for front, says in ((first, "first"), (second, "second")):
            text = front.config.read_text().replace(f"127.0.0.1:{behind}", f"{front.address}:{behind}")
            front.config.write_text(text)
            front.reload()
            stack.enter_context(a_program(behind, says, front.address))
        door = stack.enter_context(a_front(fleet_run, "hall"))

        def says() -> str:
            with contextlib.suppress(OSError):
                status, said = fetch(f"https://{DOOR}:{number}/x", **door.trusting("hall"))
                return said["says"] if status == 200 else str(status)
            return ""

        until(lambda: says() == "first")
        text = first.config.read_text()
        first.config.write_text(text.replace(f"{first.address}:{behind}", f"{first.address}:1"))
        first.reload()
        until(lambda: says() == "second")
        first.config.write_text(text)
        first.reload()
        until(lambda: says() == "first")


class Said(socketserver.BaseRequestHandler):
    """Greets, then says back what it hears."""

    def handle(self) -> None:
        self.request.sendall(self.server.name)  # type: ignore[attr-defined]
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Plain(socketserver.ThreadingTCPServer):
    """A server of some protocol that names itself."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, name: bytes) -> None:
        self.name = name
        self.connections: list[socket.socket] = []
        super().__init__((address, port), Said)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self.connections.append(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def fall_silent(self) -> None:
        """As when its guest dies: nobody listens, and nobody is told."""
        self.shutdown()
        self.server_close()

    def kill(self) -> None:
        """As when its process is killed: nobody listens, and every connection is closed."""
        self.fall_silent()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def brokers(*places: str) -> tuple[FakeRun, int]:
    """A fleet with a door and brokers at these addresses."""
    number = a_port()
    names = ("comms", "standby")
    run = FakeRun(
        fleet(
            guest("hall", 134, "front_door", "front", address=DOOR),
            *(guest(name, 150, "bus", address=place) for name, place in zip(names, places, strict=False)),
        )
    )
    run.roles["bus"] = Role(provides=(Port("bus", number, audience="lan", door=True),), name="bus")
    return run, number


def greeting(number: int) -> bytes:
    with socket.create_connection((DOOR, number), 10) as connection:
        connection.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(100)
        return b""


@pytest.fixture
def kept() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_a_standby_broker_takes_over_and_gives_back(kept: contextlib.ExitStack) -> None:
    run, number = brokers(BEHIND, OTHER)
    first, second = Plain(BEHIND, number, b"first"), Plain(OTHER, number, b"second")
    kept.callback(second.kill)
    kept.enter_context(a_front(run, "hall"))
    until(lambda: greeting(number) == b"first")
    before = socket.create_connection((DOOR, number), 10)
    assert before.recv(100) == b"first"
    first.kill()
    before.settimeout(10)
    assert before.recv(100) == b"", "its client is told at once"
    assert greeting(number) == b"second", "no connection is lost on the way: it is tried elsewhere"
    meanwhile = socket.create_connection((DOOR, number), 10)
    meanwhile.settimeout(10)
    assert meanwhile.recv(100) == b"second"
    again = Plain(BEHIND, number, b"first")
    kept.callback(again.kill)
    assert meanwhile.recv(100) == b"", "clients come back to the primary: two brokers would divide them"
    until(lambda: greeting(number) == b"first")


def test_clients_of_a_broker_that_fell_silent_are_told(kept: contextlib.ExitStack) -> None:
    run, number = brokers(BEHIND, OTHER)
    first, second = Plain(BEHIND, number, b"first"), Plain(OTHER, number, b"second")
    kept.callback(second.kill)
    kept.callback(first.kill)
    kept.enter_context(a_front(run, "hall"))
    with socket.create_connection((DOOR, number), 10) as client:
        assert client.recv(100) == b"first"
        first.fall_silent()
        client.settimeout(10)
        assert client.recv(100) == b""


def test_one_broker_alone_is_passed_on_unwatched(kept: contextlib.ExitStack) -> None:
    run, number = brokers(BEHIND)
    only = Plain(BEHIND, number, b"only")
    kept.callback(only.kill)
    front = kept.enter_context(a_front(run, "hall"))
    assert greeting(number) == b"only"
    assert len(only.connections) == 1, "no checks in its log"
    assert " check" not in front.config.read_text()


def test_shared_where_group_data_says_so(kept: contextlib.ExitStack) -> None:
    run, number = brokers(BEHIND, OTHER)
    for place, name in ((BEHIND, b"first"), (OTHER, b"second")):
        kept.callback(Plain(place, number, name).kill)
    kept.enter_context(a_front(run, "hall", front_door_balance={"bus.bus": "roundrobin"}))
    assert {greeting(number) for _ in range(6)} == {b"first", b"second"}

"""Guests of one entry with `count` share what can be shared; and what cannot is left to the first one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest
from front_kit import BEHIND, DOOR, Front, a_front, a_program, fetch, hub, until
from role_kit import FakeRun, fleet, guest

from hearth.role.declaration import Directory, Role
from hearth.role.fronted import shareable

OTHER = "127.0.0.3"


def a_run(role: Role, groups: tuple[str | None, ...] = ("worker", "worker")) -> FakeRun:
    """The door, and a guest with the role for each group."""
    workers = [
        guest(
            f"worker-{number}",
            134 + number,
            role.name,
            "front",
            address=IPv4Address(f"127.0.0.{1 + number}"),
            group=group,
        )
        for number, group in enumerate(groups, start=1)
    ]
    run = FakeRun(fleet(guest("hall", 130, "front_door", "front", address=IPv4Address(DOOR)), *workers))
    run.roles[role.name] = role
    return run


def shared(role: Role, *groups: str | None) -> tuple[str, ...]:
    run = a_run(role, groups)
    return shareable(run.fleet, run.roles)


def test_what_can_be_shared() -> None:
    role = hub(door=True)
    assert shared(role, "worker", "worker") == ("hub.web",)
    assert shared(role, "worker") == ()
    assert shared(role, None, None) == ()
    assert shared(role, "worker", None) == ()
    assert shared(role, "worker", "other") == ()
    assert shared(hub(), "worker", "worker") == ()


def test_what_keeps_state_is_not_shared() -> None:
    role = hub(door=True)
    role.state = (Directory("/var/lib/hub"),)
    assert shared(role, "worker", "worker") == ()


def servers(front: Any) -> list[str]:
    text = front.config.read_text()
    return [line.strip() for line in text.splitlines() if line.strip().startswith("server worker-")]


@pytest.fixture
def role() -> Iterator[Role]:
    yield hub(door=True)


def door(stack: contextlib.ExitStack, role: Role, **data: Any) -> Any:
    front = Front(a_run(role), "hall", **data)
    stack.callback(front.stop)
    front.write()
    done = front.checked()
    assert done.returncode == 0, done.stderr
    return front


def test_all_of_them_serve_and_haproxy_accepts_it(role: Role) -> None:
    with contextlib.ExitStack() as stack:
        front = door(stack, role)
        assert len(servers(front)) == 2
        assert not [line for line in servers(front) if " backup" in line]
        assert "    balance source\n" in front.config.read_text()


@pytest.mark.parametrize(("way", "backups"), [("primary", 1), ("leastconn", 0)])
def test_group_data_says_otherwise(role: Role, way: str, backups: int) -> None:
    with contextlib.ExitStack() as stack:
        front = door(stack, role, front_door_balance={"hub.web": way})
        assert sum(" backup" in line for line in servers(front)) == backups
        assert (f"balance {way}" in front.config.read_text()) == (way != "primary")


def test_a_way_that_is_not_offered(role: Role) -> None:
    from hearth.errors import HearthError

    with contextlib.ExitStack() as stack, pytest.raises(HearthError, match="primary"):
        door(stack, role, front_door_balance={"hub.web": "random"})


def test_a_client_stays_with_one_and_comes_to_another_when_that_is_away(role: Role) -> None:
    number, behind = role.provides[0].number, role.provides[0].behind or 0
    run = a_run(role)
    with contextlib.ExitStack() as stack:
        fronts = {}
        for name, place in (("worker-1", BEHIND), ("worker-2", OTHER)):
            front = fronts[name] = Front(run, name)
            stack.callback(front.stop)
            front.write()
            # Both guests' programs would have one loopback: each has an address of its own here.
            text = front.config.read_text().replace(f"127.0.0.1:{behind}", f"{place}:{behind}")
            front.config.write_text(text)
            stack.enter_context(a_program(behind, name, place))
            front.start()
        hall = stack.enter_context(a_front(run, "hall"))

        def says() -> str:
            with contextlib.suppress(OSError):
                status, said = fetch(f"https://{DOOR}:{number}/x", **hall.trusting("hall"))
                return str(said["says"]) if status == 200 else str(status)
            return ""

        until(lambda: says() in fronts)
        mine = says()
        assert {says() for _ in range(5)} == {mine}
        (other,) = set(fronts) - {mine}
        process = fronts[mine].process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        until(lambda: says() == other)

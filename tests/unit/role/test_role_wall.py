"""The guest's own wall: the role's rules in a real kernel, with real sockets on both sides."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from role_kit import dual
from wall_kit import (
    DATA,
    ELSEWHERE,
    FLEET,
    PEOPLE,
    STRANGERS,
    TwoSides,
    a_run,
    everybody,
    may_ping,
    rules,
    table,
)

from hearth.errors import HearthError
from hearth.firewall.settings import LEVELS
from hearth.fleet.model import Fleet
from hearth.role.certificates import fixed_addresses
from tests.knocking import Knock

AT_ONCE = 8000  # sockets
GUESTS = [guest.name for guest in FLEET.guests]


@pytest.fixture(autouse=True)
def from_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no address that the fleet would see."""
    monkeypatch.setattr("hearth.path.addresses_towards", lambda fleet: ())


@pytest.fixture
def sides() -> Iterator[Callable[..., TwoSides]]:
    """Makes the two sides of a guest's wall."""
    made: list[TwoSides] = []

    def make(name: str) -> TwoSides:
        own = [str(address) for address in fixed_addresses(FLEET.guest(name))]
        made.append(TwoSides(own, [address for address in everybody() if address not in own]))
        return made[-1]

    yield make
    for each in made:
        each.close()


def matrix(name: str, own: list[str]) -> list[Knock]:
    """Every source on every port of a guest, with what the flows say of it; and a ping of each."""
    found = [flow for flow in table() if flow.guest == name]
    ports = sorted({(flow.protocol, flow.port) for flow in table()} | set(ELSEWHERE))
    knocks = []
    for source in (each for each in everybody() if each not in own):
        target = next(each for each in own if (":" in each) == (":" in source))
        for protocol, port in ports:
            answer = any(
                (flow.protocol, flow.port) == (protocol, port) and ip_address(source) in flow.sources
                for flow in found
            )
            knocks.append(Knock(source, target, protocol, port, answer))
        knocks.append(Knock(source, target, "ping", 0, may_ping(ip_address(source))))
    return knocks


@pytest.mark.parametrize("name", GUESTS)
def test_exactly_the_flows_answer(name: str, sides: Callable[..., TwoSides]) -> None:
    both = sides(name)
    both.nft(rules(name).text)
    knocks = matrix(name, list(both.addresses))
    both.serve(sorted({(one.protocol, one.port) for one in knocks if one.protocol != "ping"}))
    met = both.knock(knocks)
    wrong = {one: found for one, found in met.items() if (found == "open") != one.answer or found == "closed"}
    assert wrong == {}
    assert any(one.answer for one in knocks)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["192.168.1.77", "fd00::141"])
def test_no_other_tcp_port_lets_a_packet_through(source: str, sides: Callable[..., TwoSides]) -> None:
    """Nobody listens: whatever comes through is refused by the guest itself, and that is heard."""
    both = sides("gate")
    both.nft(rules("gate").text)
    target = both.addresses[":" in source]
    mine = {
        flow.port
        for flow in table()
        if (flow.guest, flow.protocol) == ("gate", "tcp") and ip_address(source) in flow.sources
    }
    met: dict[int, str] = {}
    for first in range(1, 65536, AT_ONCE):
        ports = range(first, min(first + AT_ONCE, 65536))
        found = both.knock([Knock(source, target, "tcp", port, port in mine) for port in ports])
        met |= dict(zip(ports, found.values(), strict=True))
    assert {port for port, answer in met.items() if answer == "closed"} == mine
    assert {answer for port, answer in met.items() if port not in mine} == {"silent"}
    assert mine


def test_the_matrix_would_see_a_hole(sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    knocks = matrix("bare", list(both.addresses))
    both.serve(sorted({(one.protocol, one.port) for one in knocks if one.protocol != "ping"}))
    assert set(both.knock(knocks).values()) == {"open"}  # no wall: everything answers, a ping too


@pytest.mark.parametrize(
    ("name", "source", "protocol", "port", "answer"),
    [
        ("comms", "192.168.1.10", "tcp", 22, True),
        ("comms", "192.168.1.77", "tcp", 22, False),
        ("comms", "192.168.1.201", "tcp", 8883, True),
        ("comms", "fd00::201", "tcp", 1883, True),
        ("comms", "192.168.1.201", "tcp", 8080, False),
        ("comms", "192.168.1.77", "tcp", 8080, True),
        ("comms", "fd20::5", "tcp", 80, True),
        ("comms", "192.168.1.141", "tcp", 8883, False),
        ("gate", "192.168.1.141", "tcp", 8883, True),
        ("gate", "192.168.1.141", "tcp", 1883, False),
        ("db", "192.168.1.132", "tcp", 5432, True),
        ("db", "fd00::139", "tcp", 5432, True),
        ("db", "192.168.1.77", "tcp", 5432, False),
        ("ha", "fd00::134", "tcp", 28123, True),
        ("ha", "fd00::135", "tcp", 28123, False),
    ],
)
def test_the_matrix_says_what_is_meant(
    name: str, source: str, protocol: str, port: int, answer: bool
) -> None:
    """Written down by hand, so that the table's own mistake would show."""
    own = [str(address) for address in fixed_addresses(FLEET.guest(name))]
    said = [one.answer for one in matrix(name, own) if (one.source, one.port) == (source, port)]
    assert said == [answer]


def test_what_the_guest_asks_for_is_answered_and_loopback_is_free(sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    both.nft(rules("bare").text)
    for stranger in STRANGERS:
        both.serve([("tcp", 4000), ("udp", 4001)], outside=stranger)
    both.serve([("tcp", 4000), ("udp", 4001)])
    own4, own6 = both.addresses
    asked = [
        Knock(source, target, protocol, port, True)
        for source, target in (
            *((own4, "203.0.113.9"), (own6, "2001:db8::9")),
            *((own4, own4), (own6, own6), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")),
        )
        for protocol, port in (("tcp", 4000), ("udp", 4001))
    ]
    assert set(both.knock(asked, from_guest=True).values()) == {"open"}
    # Nothing listens there: what ICMP says of our own packets comes back too, as "too big" must.
    refused = [Knock(own, to, "udp", 4009, True) for own, to in zip(both.addresses, STRANGERS, strict=True)]
    assert set(both.knock(refused, from_guest=True).values()) == {"closed"}


# A router's advertisement of 2001:db8:5::/64, RFC 4861, 4.2 and 4.6.2; the kernel adds the checksum.
ADVERTISE = """
import socket, struct, sys
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, int(sys.argv[1]))
raw.bind(socket.getaddrinfo("fe80::77%eth0", 0)[0][4])
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0)
body += socket.inet_pton(socket.AF_INET6, "2001:db8:5::")
raw.sendto(body, socket.getaddrinfo("ff02::1%eth0", 0)[0][4])
"""


def test_a_router_is_heard(sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    both.nft(rules("bare").text)
    both.run("ip", "-6", "addr", "add", "fe80::150/64", "dev", "eth0", "nodad")
    assert both.run(sys.executable, "-c", ADVERTISE, "255", outside=True).stderr == ""
    for _ in range(50):
        if "2001:db8:5:" in both.run("ip", "-6", "addr", "show", "dev", "eth0").stdout:
            break
        time.sleep(0.1)
    else:
        pytest.fail("no address from the advertised prefix")


@pytest.mark.parametrize(("hops", "refused"), [(255, 0), (64, 1)])
def test_only_a_router_of_the_link_advertises(
    hops: int, refused: int, sides: Callable[..., TwoSides]
) -> None:
    """The kernel would drop the other one too (RFC 4861, 6.1.2): so what the wall lets through is counted."""
    both = sides("bare")
    both.nft(rules("bare").text)
    both.nft("add rule inet hearth input icmpv6 type nd-router-advert counter")  # the last one
    both.run("ip", "-6", "addr", "add", "fe80::150/64", "dev", "eth0", "nodad")
    assert both.run(sys.executable, "-c", ADVERTISE, str(hops), outside=True).stderr == ""
    time.sleep(0.3)
    assert f"counter packets {refused} " in both.run("nft", "list", "ruleset").stdout


@pytest.mark.parametrize("given", ["dhcp", "fixed"])
def test_a_lease_is_let_in_where_the_fleet_says_dhcp(given: str, sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    told = {"address": "dhcp", "address6": "auto"} if given == "dhcp" else {}
    fleet = Fleet(**{**dict(FLEET), "guests": (dual("bare", 150, "clock").model_copy(update=told),)})
    both.nft(rules("bare", fleet).text)
    both.run("ip", "-6", "addr", "add", "fe80::150/64", "dev", "eth0", "nodad")
    both.serve([("udp", 68), ("udp", 546)])
    own4, own6 = both.addresses
    leases = [
        Knock("203.0.113.9", own4, "udp", 68, given == "dhcp", 67),
        Knock("fe80::77%eth0", "fe80::150%eth0", "udp", 546, given == "dhcp", 547),
    ]
    others = [
        Knock("203.0.113.9", own4, "udp", 68, False),
        Knock("2001:db8::9", own6, "udp", 546, False, 547),
    ]
    met = both.knock([*leases, *others])
    assert [met[one] for one in leases] == ["open" if given == "dhcp" else "silent"] * 2
    assert [met[one] for one in others] == ["silent"] * 2


def test_nothing_but_our_own_table_is_touched(sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    both.nft("table ip podman { chain forward { type filter hook forward priority 0; policy accept; }; }")
    before = both.listed()
    both.nft(rules("bare").text)
    once = both.listed()
    both.nft(rules("bare").text)
    assert both.listed() == once
    assert before.strip() in once
    assert both.listed().count("table inet hearth") == 1
    assert "hook forward" not in both.listed().replace(before.strip(), "")
    both.run("nft", "delete", "table", "inet", "hearth")
    assert both.listed() == before


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_refused_is_logged_where_wanted(level: str, sides: Callable[..., TwoSides]) -> None:
    both = sides("bare")
    both.nft(rules("bare", wall_log_level=level, wall_log_rate=7).text)
    assert ("limit rate 7/minute" in both.listed()) == (level != "nolog")
    assert ('log prefix "hearth-wall: "' in both.listed()) == (level != "nolog")
    # nft does not say its default, "warn".
    assert (f"level {level}" in both.listed()) == (level not in ("nolog", "warning"))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"wall_enabled": "yes"}, "True or False"),
        ({"wall_log_level": "loud"}, "nolog"),
        ({"wall_log_rate": 0}, "at least 1"),
        ({"wall_rollback_after": 5}, "at least 10"),
        ({"firewall_iot": ["lamp"]}, "no address"),
    ],
)
def test_a_wrong_value_is_refused_in_words(data: dict[str, Any], word: str) -> None:
    run = a_run()
    deployer = run.roles["wall"].deployer
    assert deployer
    from ops_kit import Absent, preparing

    with preparing() as host, pytest.raises(HearthError, match=word):
        host.connector = Absent()
        deployer(run.here("bare", "wall", **{**DATA, **data}))


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    here = a_run().here("bare", "wall")
    from roles.wall import units  # loaded by the catalogue

    ours, debians = units(here)
    unit = tmp_path / "hearth-wall.service"
    unit.write_text(ours.text + "\n" + debians.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(unit) in line]) == (0, [])


def test_people_are_of_every_kind() -> None:
    """Else the matrix would prove less than it says."""
    kinds = {flow.who for flow in table() for source in everybody() if ip_address(source) in flow.sources}
    assert kinds == {"management", "lan", "fleet", "iot", "outside", "door"}
    assert not any(ip_address(source) in flow.sources for flow in table() for source in PEOPLE[-2:])

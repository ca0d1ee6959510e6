"""The front door: its one address answers for whatever guest serves a port, as that guest does."""

from __future__ import annotations

import pytest
from health import CHECKS, handshake, leads_to_https, plain_http
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.role.fronted import Passage, passages
from hearth.role.served import Served


@pytest.fixture
def through(under_test: UnderTest, guest: Guest) -> tuple[Passage, ...]:
    """What is passed on."""
    return passages(guest, under_test.fleet, under_test.roles)


def served_here(under_test: UnderTest, guest: Guest, passage: Passage) -> Served:
    """A passage as a port of the door's guest."""
    return Served(guest, under_test.roles[passage.name.partition(".")[0]], passage.port)


def test_everything_behind_it_is_healthy_through_it(
    under_test: UnderTest, guest: Guest, through: tuple[Passage, ...]
) -> None:
    for passage in through:
        served = served_here(under_test, guest, passage)
        CHECKS[served.health](under_test, served)


def test_every_door_port_answers_here_whoever_serves_it(under_test: UnderTest, guest: Guest) -> None:
    wanted = {served.port.number for served in under_test.ports if served.port.door}
    own = {served.port.number for served in under_test.ports if served.guest == guest}
    assert wanted <= {each.port.number for each in passages(guest, under_test.fleet, under_test.roles)} | own


def test_certificates_hold_for_the_doors_name_and_address(
    under_test: UnderTest, guest: Guest, through: tuple[Passage, ...]
) -> None:
    for passage in through:
        if passage.port.tls:
            for name in (guest.name, address_of(guest)):
                handshake(under_test, served_here(under_test, guest, passage), name).close()


def test_no_plain_http_and_no_old_tls_through_it(
    under_test: UnderTest, guest: Guest, through: tuple[Passage, ...]
) -> None:
    for passage in through:
        if not passage.port.tls:
            continue
        answer = plain_http(under_test, guest, passage.port.number)
        assert not answer.startswith(b"HTTP") or leads_to_https(answer)
        with pytest.raises(OSError, match=r"(?i)protocol|alert|version|eof|reset"):
            handshake(
                under_test, served_here(under_test, guest, passage), guest.name, under_test.old_tls()
            ).close()

"""A real HAProxy with what role `front` renders: who comes in from outside, and who does not.

Sources on loopback stand for the home and for what is outside of it: 127.0.0.9 is at home, 127.0.0.66 is the
subnet router's address, which everybody from the tailnet wears. The front door says who its clients are.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError
from cryptography import x509
from front_kit import AUTHORITY, DOOR, ELSEWHERE, Front, a_front, a_program, a_run, fetch, hub, until
from phones_kit import Handset, a_parcel, ended, listed
from role_kit import FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.fleet.model import Network
from hearth.phones.bundle import Parcel
from hearth.phones.credentials import Credentials
from hearth.pki import Authority
from hearth.role.declaration import Role
from hearth.role.inside import inside_networks, outside_addresses

ROUTER = "127.0.0.66"
OUTSIDE = {"front_outside": [ROUTER]}
REFUSED = (ClientError, OSError)


class Home:
    """A front on loopback, a program behind it, and a phone."""

    def __init__(self, run: FakeRun, front: Front, phone: Handset, parcel: Parcel) -> None:
        self.run, self.front, self.phone, self.parcel = run, front, phone, parcel
        self.port = run.roles["hub"].provides[0].number

    @property
    def url(self) -> str:
        return f"https://{self.front.address}:{self.port}/x"

    def status(self, source: str, tls: ssl.SSLContext) -> int:
        """What somebody at an address is answered."""
        return fetch(self.url, source, ssl=tls, server_hostname="comms")[0]

    def apply(self) -> None:
        """As a deploy does it: the files, then a reload."""
        self.front.write()
        self.front.reload()


@contextmanager
def a_home(folder: Path, **data: Any) -> Iterator[Home]:
    role = hub(door=True)
    run = a_run(role)
    parcel = a_parcel(run)
    listed(run, parcel)
    phone = Handset.unpacked(parcel, folder / "phone")
    with a_program(role.provides[0].behind or 0), a_front(run, **OUTSIDE, **data) as front:
        home = Home(run, front, phone, parcel)
        until(lambda: home.status(ELSEWHERE, front.tls()) == 200)
        yield home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with a_home(tmp_path) as found:
        yield found


def with_pem(home: Home, *pems: str) -> ssl.SSLContext:
    """The home's CA is trusted, and this certificate is shown."""
    path = home.front.root / "shown.pem"
    path.write_text("".join(pems))
    context = home.front.tls()
    context.load_cert_chain(path)
    return context


def pem_of(run: FakeRun, name: str) -> tuple[str, str]:
    return run.secrets.get(f"phone/{name}/cert").reveal(), run.secrets.get(f"phone/{name}/key").reveal()


# ----------------------------------------------------------------------------------- who comes in


def test_at_home_nobody_is_asked(home: Home) -> None:
    assert home.status(ELSEWHERE, home.phone.tls(certificate=False)) == 200


def test_from_outside_nobody_comes_in_without_a_certificate(home: Home) -> None:
    status, (_, said) = fetch(
        home.url, ROUTER, ssl=home.phone.tls(certificate=False), server_hostname="comms"
    )
    assert status == 403
    assert "certificate" in said


def test_from_outside_a_phone_comes_in_and_the_program_hears_its_name(home: Home) -> None:
    spoofed = {"X-SSL-Client-CN": "somebody"}
    status, answer = fetch(home.url, ROUTER, ssl=home.phone.tls(), server_hostname="comms", headers=spoofed)
    assert status == 200
    assert answer["headers"]["x-ssl-client-cn"] == ["anna"]
    assert home.phone.trusts(home.front.address, home.port, "comms")
    assert not home.phone.trusts(home.front.address, home.port, "elsewhere")


def test_another_home_is_not_trusted_by_the_phone(home: Home, tmp_path: Path) -> None:
    stranger = Handset.unpacked(a_parcel(a_run(hub(door=True))), tmp_path / "stranger")
    assert not stranger.trusts(home.front.address, home.port, "comms")


def test_a_phone_that_is_not_listed_is_refused_though_our_ca_signed_it(home: Home, tmp_path: Path) -> None:
    unlisted = Handset.unpacked(a_parcel(home.run, "berta"), tmp_path / "berta")
    assert home.status(ROUTER, unlisted.tls()) == 403
    assert home.status(ELSEWHERE, unlisted.tls()) == 200, "at home nobody is asked"


def test_a_stranger_with_the_same_serial_number_is_refused(home: Home) -> None:
    """The number alone is nothing: whoever signs for himself can take any."""
    theirs = FakeRun(home.run.fleet, home.run.roles)
    number = home.parcel.credentials.certificate.serial_number
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "random_serial_number", lambda: number)
        stranger = a_parcel(theirs)
    assert stranger.phone.serial == home.parcel.phone.serial
    with pytest.raises(REFUSED):
        home.status(ROUTER, with_pem(home, *pem_of(theirs, "anna")))


def test_a_guests_own_certificate_is_no_clients(home: Home) -> None:
    leaf = home.run.authority.leaf("comms", (), ())
    with pytest.raises(REFUSED):
        home.status(ROUTER, with_pem(home, leaf.cert_pem, leaf.key_pem.reveal()))


def test_one_that_has_run_out_is_as_good_as_none(home: Home) -> None:
    past = datetime.now(UTC) - timedelta(days=1000)
    home.run.secrets.put("ca/cert", _older_ca(home.run))
    home.run.authority = Authority(home.run.secrets, lambda: past)
    old = a_parcel(home.run, "clara")
    assert old.phone.until < datetime.now(UTC).date()
    listed(home.run, old)
    home.run.authority = Authority(home.run.secrets)
    home.apply()
    shown = with_pem(home, *pem_of(home.run, "clara"))
    assert home.status(ROUTER, shown) == 403
    assert home.status(ELSEWHERE, shown) == 200


def _older_ca(run: FakeRun) -> str:
    """Our CA's certificate, with the same key, of five years ago."""
    from hearth.pki.certificates import ca_certificate, certificate_pem, load_key

    key = load_key("ca/key", run.secrets.get("ca/key"))
    return certificate_pem(ca_certificate(key, datetime.now(UTC) - timedelta(days=1800)))


@pytest.mark.parametrize("number", [0x80, 0x7F, 0xFF00, 1 << 158])
def test_every_form_of_a_serial_number_is_found_again(tmp_path: Path, number: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "random_serial_number", lambda: number)
        with a_home(tmp_path) as home:
            assert home.status(ROUTER, home.phone.tls()) == 200


# ------------------------------------------------------------------------------------- through the door


def through_the_door(home: Home, client: str, tls: ssl.SSLContext) -> bytes:
    """The first line that a client gets of whom the door says that it comes from there."""
    entrance = home.port + 20_000
    with socket.create_connection((home.front.address, entrance), 10, source_address=(DOOR, 0)) as raw:
        raw.sendall(f"PROXY TCP4 {client} {DOOR} 4000 {home.port}\r\n".encode())
        with tls.wrap_socket(raw, server_hostname="comms") as secured:
            secured.sendall(b"GET /x HTTP/1.1\r\nHost: comms\r\nConnection: close\r\n\r\n")
            return secured.makefile("rb").readline()


@pytest.mark.parametrize(
    ("client", "asked"),
    [
        ("192.168.1.20", False),  # the LAN
        ("100.64.0.7", True),  # the tailnet, without the subnet router
        ("203.0.113.9", True),
        ("192.168.2.20", True),  # a neighbour's network
        (ROUTER, True),
    ],
)
def test_the_door_tells_who_is_at_home(home: Home, client: str, asked: bool) -> None:
    assert (b" 403 " in through_the_door(home, client, home.phone.tls(certificate=False))) is asked
    assert b" 200 " in through_the_door(home, client, home.phone.tls())


# ------------------------------------------------------------------------------------------- revoked


def test_a_revoked_phone_is_refused_and_what_it_holds_open_is_ended(home: Home) -> None:
    from roles.front import ENDED, proxy_files

    tls = home.phone.tls()
    before = proxy_files(home.run.here("comms", "front", **OUTSIDE))
    with (
        socket.create_connection((home.front.address, home.port), 10, source_address=(ROUTER, 0)) as raw,
        tls.wrap_socket(raw, server_hostname="comms") as held,
    ):
        held.sendall(b"GET /x HTTP/1.1\r\nHost: comms\r\n\r\n")
        assert b" 200 " in held.recv(100)
        ended(home.run, home.parcel)
        after = proxy_files(home.run.here("comms", "front", **OUTSIDE))
        assert after.ended != before.ended, "a reload is not enough: it leaves older connections alone"
        assert (after.ended[0].path, home.parcel.phone.serial in after.ended[0].text) == (ENDED, True)
        home.apply()
        assert home.status(ROUTER, tls) == 403
        # A session that was resumed brings its certificate along; it does not come in by that either.
        with (
            socket.create_connection(
                (home.front.address, home.port), 10, source_address=(ROUTER, 0)
            ) as again,
            tls.wrap_socket(again, server_hostname="comms", session=held.session) as resumed,
        ):
            resumed.sendall(b"GET /x HTTP/1.1\r\nHost: comms\r\n\r\n")
            assert b" 403 " in resumed.recv(100)


def test_adding_a_phone_takes_a_reload_only(home: Home) -> None:
    from roles.front import proxy_files

    before = proxy_files(home.run.here("comms", "front", **OUTSIDE))
    listed(home.run, a_parcel(home.run, "berta"))
    after = proxy_files(home.run.here("comms", "front", **OUTSIDE))
    assert (after.unit, after.ended) == (before.unit, before.ended)
    assert after.reloaded != before.reloaded


def test_a_renewed_phone_comes_in_with_its_new_certificate_alone(home: Home, tmp_path: Path) -> None:
    former = home.phone.tls()
    renewed = a_parcel(home.run)
    listed(home.run, renewed)
    home.apply()
    assert home.status(ROUTER, former) == 403
    assert home.status(ROUTER, Handset.unpacked(renewed, tmp_path / "renewed").tls()) == 200


# ------------------------------------------------------------------------------------ what is rendered


def test_haproxy_accepts_it_without_a_warning_with_many_phones_and_with_none(home: Home) -> None:
    for name in (f"phone{number}" for number in range(40)):
        listed(home.run, a_parcel(home.run, name))
    home.front.write()
    assert "[WARNING]" not in home.front.checked().stderr
    home.run.phones = replace(home.run.phones, present={})
    home.front.write()
    done = home.front.checked()
    assert (done.returncode, "[WARNING]" in done.stderr) == (0, False)


def test_without_any_phone_nobody_comes_in_from_outside(home: Home) -> None:
    ended(home.run, home.parcel)
    home.apply()
    assert home.status(ROUTER, home.phone.tls()) == 403
    assert home.status(ELSEWHERE, home.phone.tls()) == 200


def test_where_it_is_switched_off_nobody_is_asked(tmp_path: Path) -> None:
    with a_home(tmp_path, front_demand_certificates=False) as home:
        assert home.status(ROUTER, home.phone.tls(certificate=False)) == 200


def test_what_is_for_the_fleet_alone_is_not_asked_for(tmp_path: Path) -> None:
    role = hub(door=True, audience="fleet")
    run = a_run(role)
    with a_program(role.provides[0].behind or 0), a_front(run, **OUTSIDE) as front:
        url = f"https://{front.address}:{role.provides[0].number}/x"
        until(lambda: fetch(url, ROUTER, **front.trusting())[0] == 200)


@pytest.mark.parametrize("verify", ["optional", "required"])
def test_a_port_with_demands_of_its_own_lets_phones_in_all_the_same(tmp_path: Path, verify: str) -> None:
    role = hub(door=True)
    run = a_run(role)
    parcel = a_parcel(run)
    listed(run, parcel)
    phone = Handset.unpacked(parcel, tmp_path / "phone")
    asks = {"hub.web": {"ca": AUTHORITY, "verify": verify}}
    data: dict[str, Any] = {**OUTSIDE, "front_client_certificates": asks}
    with a_program(role.provides[0].behind or 0), a_front(run, **data) as front:
        home = Home(run, front, phone, parcel)
        until(lambda: home.status(ROUTER, phone.tls()) == 200)
        if verify == "required":
            with pytest.raises(REFUSED):
                home.status(ELSEWHERE, phone.tls(certificate=False))
        else:
            assert home.status(ROUTER, phone.tls(certificate=False)) == 403


# ---------------------------------------------------------------------------------- who is at home, in words


def test_a_subnet_routers_address_is_outside() -> None:
    home = fleet(guest("tailnet", 141, "headscale", "subnet_router"), guest("comms", 135))
    assert outside_addresses(home) == (IPv4Network("192.168.1.141/32"),)
    assert outside_addresses(fleet(guest("comms", 135)), ["10.0.0.0/8"]) == (IPv4Network("10.0.0.0/8"),)


def test_the_fleets_networks_are_inside_and_those_that_are_named() -> None:
    home = fleet(guest("comms", 135))
    assert IPv4Network("192.168.1.0/24") in inside_networks(home)
    assert IPv4Network("10.1.0.0/16") in inside_networks(home, ["10.1.0.0/16"])
    assert IPv4Network("10.1.0.0/16") not in inside_networks(home)


def test_a_fleet_without_subnets_has_to_say_who_is_at_home() -> None:
    home = fleet(guest("comms", 135)).model_copy(update={"networks": (Network(name="lan", bridge="vmbr0"),)})
    with pytest.raises(HearthError, match="front_inside"):
        inside_networks(home)
    assert IPv4Network("10.0.0.0/8") in inside_networks(home, ["10.0.0.0/8"])


@pytest.mark.parametrize("name", ["front_inside", "front_outside"])
def test_what_is_no_address_is_refused_by_name(name: str) -> None:
    from roles.front import proxy_files

    with pytest.raises(HearthError, match=name):
        proxy_files(a_run(hub(door=True)).here("comms", "front", **{name: ["home"]}))


def test_a_door_whose_address_others_wear_is_refused() -> None:
    from roles.front import proxy_files

    run = a_run(hub(door=True))
    with pytest.raises(HearthError, match="subnet router"):
        proxy_files(run.here("comms", "front", front_outside=[DOOR]))
    role = Role(name="subnet_router")
    run.roles["subnet_router"] = role
    hall = run.fleet.guest("hall")
    both = hall.model_copy(update={"roles": (*hall.roles, "subnet_router")})
    run.fleet = fleet(both, run.fleet.guest("comms"))
    with pytest.raises(HearthError, match="hall"):
        proxy_files(run.here("comms", "front"))


def test_the_serial_number_is_the_certificates_own() -> None:
    parcel = a_parcel(a_run(hub(door=True)))
    given: Credentials = parcel.credentials
    assert int(given.serial, 16) == given.certificate.serial_number
    assert len(given.serial) % 2 == 0

"""What HAProxy serves follows from what the roles provide; and HAProxy itself accepts all of it."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from front_kit import Front, a_front, a_program, a_run, fetch, hub, until
from role_kit import FakeRun, dual, fleet, guest

from hearth.errors import HearthError
from hearth.role.declaration import Port, Role
from hearth.role.fronted import ENTRANCE, passages, webs

WEB = Port("web", 3000, tls=True, behind=13000, audience="lan", door=True, health="http")
BUS = Port("bus", 1883, audience="lan", door=True)
ROLES = {
    "base": Role(name="base"),
    "hub": Role(provides=(WEB,), name="hub"),
    "bus": Role(provides=(BUS, Port("inner", 9000)), name="bus"),
    "front": Role(name="front"),
    "front_door": Role(brings=("front",), name="front_door"),
}


def numbers(found: tuple[Any, ...]) -> list[int]:
    return [each.port.number for each in found]


def test_a_guest_has_its_own_interfaces_and_an_entrance_for_a_door_elsewhere() -> None:
    home = fleet(dual("hall", 134, "front_door", "front"), guest("comms", 135, "hub", "front"))
    (web,) = webs(home.guest("comms"), home, ROLES)
    assert (web.name, web.port, web.entrance) == ("hub.web", WEB, 3000 + ENTRANCE)
    assert [str(each) for each in web.doors] == ["192.168.1.134", "fd00::134"]
    assert webs(home.guest("hall"), home, ROLES) == ()


def test_no_entrance_without_a_door_or_where_the_port_asks_for_none() -> None:
    home = fleet(guest("comms", 135, "hub", "front"))
    assert webs(home.guest("comms"), home, ROLES)[0].entrance is None
    roles = {**ROLES, "hub": Role(provides=(replace(WEB, door=False),), name="hub")}
    home = fleet(guest("hall", 134, "front_door", "front"), guest("comms", 135, "hub", "front"))
    assert webs(home.guest("comms"), home, roles)[0].entrance is None
    assert passages(home.guest("hall"), home, roles) == ()


def test_the_door_leads_to_whatever_guest_serves_the_first_one_first() -> None:
    home = fleet(
        guest("hall", 134, "front_door", "front"),
        guest("comms", 135, "bus", "hub", "front"),
        guest("standby", 138, "bus"),
    )
    found = {each.name: each for each in passages(home.guest("hall"), home, ROLES)}
    assert [str(server) for server in found["bus.bus"].servers] == [
        "192.168.1.135:1883",
        "192.168.1.138:1883",
    ]
    assert [str(server) for server in found["hub.web"].servers] == ["192.168.1.135:23000"]
    assert (found["hub.web"].proxied, found["bus.bus"].proxied) == (True, False)
    assert set(found) == {"hub.web", "bus.bus"}, "and to no port that is not meant for it"


def test_what_the_doors_guest_serves_itself_is_not_doubled() -> None:
    home = fleet(guest("hall", 134, "front_door", "hub", "front"), guest("comms", 135, "hub", "bus", "front"))
    assert numbers(passages(home.guest("hall"), home, ROLES)) == [1883]
    (web,) = webs(home.guest("hall"), home, ROLES)
    assert web.entrance is None, "no door leads from a guest to itself"


def test_who_is_not_the_door_passes_nothing_on() -> None:
    home = fleet(guest("comms", 135, "front"), guest("standby", 138, "bus"))
    assert passages(home.guest("comms"), home, ROLES) == ()


@pytest.mark.parametrize(
    "other",
    [
        Port("x", 3000),  # the number itself
        Port("x", 3000, tls=True, behind=13001),
        Port("x", 13000),  # where the program listens
        Port("x", 4000, tls=True, behind=13000),
        Port("x", 23000),  # the entrance
    ],
)
def test_two_that_want_one_port_are_named(other: Port) -> None:
    roles = {**ROLES, "other": Role(provides=(other,), name="other")}
    home = fleet(guest("hall", 134, "front_door", "front"), guest("comms", 135, "hub", "other", "front"))
    with pytest.raises(HearthError, match=r"hub\.web|other\.x") as told:
        webs(home.guest("comms"), home, roles)
    assert "comms" in str(told.value)


def test_the_doors_own_ports_are_not_given_away() -> None:
    roles = {**ROLES, "other": Role(provides=(Port("x", 1883),), name="other")}
    home = fleet(guest("hall", 134, "front_door", "other", "front"), guest("comms", 135, "bus"))
    with pytest.raises(HearthError, match=r"hall.*1883.*other\.x"):
        passages(home.guest("hall"), home, roles)


def test_two_roles_with_one_door_port_are_named() -> None:
    roles = {**ROLES, "other": Role(provides=(Port("x", 1883, door=True),), name="other")}
    home = fleet(
        guest("hall", 134, "front_door", "front"), guest("comms", 135, "bus"), guest("data", 139, "other")
    )
    with pytest.raises(HearthError, match="1883"):
        passages(home.guest("hall"), home, roles)


@pytest.mark.parametrize("which", ["hall", "comms"])
def test_a_guest_without_a_fixed_address_cannot_be_led_to(which: str) -> None:
    given = {
        "hall": guest("hall", 134, "front_door", "front"),
        "comms": guest("comms", 135, "hub", "bus", "front"),
    }
    given[which] = given[which].model_copy(update={"address": "dhcp"})
    home = fleet(*given.values())
    with pytest.raises(HearthError, match=f"{which}.*fixed address"):
        (passages if which == "comms" else webs)(
            home.guest("hall" if which == "comms" else "comms"), home, ROLES
        )


def test_the_door_itself_needs_a_fixed_address() -> None:
    from roles.front_door import front_door

    run = FakeRun(fleet(guest("hall", 134, "front_door", "front", address="dhcp")))
    with pytest.raises(HearthError, match="fixed address"):
        front_door(run.here("hall", "front_door"))


# ------------------------------------------------------------------------------- HAProxy's own opinion


def checked(run: FakeRun, name: str, **data: Any) -> str:
    """What HAProxy says of a guest's files; empty where it has nothing to say."""
    front = Front(run, name, **data)
    try:
        front.write()
        done = front.checked()
        words = [line for line in done.stderr.splitlines() if "[WARNING]" in line or "[ALERT]" in line]
        assert (done.returncode == 0) == (not any("[ALERT]" in line for line in words)), done.stderr
        return "\n".join(words)
    finally:
        front.stop()


def a_home() -> FakeRun:
    run = FakeRun(
        fleet(
            dual("hall", 134, "front_door", "front"),
            dual("comms", 135, "hub", "bus", "front"),
            guest("second", 136, "hub", "bus", "front"),
            guest("third", 137, "inner", "front"),
        )
    )
    run.roles |= {name: ROLES[name] for name in ("hub", "bus")}
    run.roles["inner"] = Role(
        provides=(Port("web", 4000, tls=True, behind=14000, audience="host"),), name="inner"
    )
    return run


@pytest.mark.parametrize("name", ["hall", "comms", "second", "third"])
def test_haproxy_accepts_every_guests_files_without_a_warning(name: str) -> None:
    assert checked(a_home(), name) == ""


@pytest.mark.parametrize("way", ["roundrobin", "leastconn", "source"])
def test_haproxy_accepts_every_way_of_sharing(way: str) -> None:
    assert checked(a_home(), "hall", front_door_balance={"hub.web": way, "bus.bus": way}) == ""


def test_a_door_without_anything_behind_it_is_no_mistake() -> None:
    with a_front(FakeRun(fleet(guest("hall", 134, "front_door", "front"))), "hall") as front:
        assert front.worker()


@pytest.mark.parametrize("name", ["idle", "drain", "door_idle"])
def test_a_time_that_is_none_is_refused_in_haproxys_words(name: str) -> None:
    guest_name = "hall" if name == "door_idle" else "comms"
    said = checked(a_home(), guest_name, **{f"front_{name}": "soon"})
    assert "[ALERT]" in said
    assert "unexpected character 's'" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("front_max_connections", 0),
        ("front_max_connections", "many"),
        ("front_hsts", -1),
        ("front_hsts", "long"),
        ("front_redirect", {"comms": "hub.no_such"}),
        ("front_client_certificates", {"hub.web": {"verify": "required"}}),
        ("front_client_certificates", {"hub.web": {"ca": "/x", "verify": "none"}}),
        ("front_door_balance", {"hub.web": "first"}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(HearthError, match=name):
        checked(a_home(), "comms", **{name: value})


def test_what_only_haproxy_may_read() -> None:
    from roles.front import proxy_files

    proxy = proxy_files(a_home().here("comms", "front"))
    pem = next(file for file in proxy.reloaded if file.path.endswith("server.pem"))
    assert (pem.user, pem.mode, pem.secret) == ("haproxy", "600", True)
    assert "PRIVATE KEY" in pem.text
    assert "PRIVATE KEY" not in repr(pem)
    hall = proxy_files(a_home().here("hall", "front"))
    assert not any(file.path.endswith(".pem") for file in hall.reloaded), (
        "no TLS ends here: no key lies about"
    )


def test_only_low_ports_take_a_capability() -> None:
    from roles.front import proxy_files

    run = a_home()
    assert "CAP_NET_BIND_SERVICE" not in proxy_files(run.here("comms", "front")).unit.text
    redirecting = run.here("comms", "front", front_redirect={"comms": "hub.web"})
    assert "CAP_NET_BIND_SERVICE" in proxy_files(redirecting).unit.text


# ------------------------------------------------------------------------------- clients' certificates


def certificate(folder: Path, name: str, issuer: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """A certificate and its key, in NAME.crt and NAME.key; of itself, or of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    by, by_key = issuer or (None, key)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(by_key, SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(pem)
    return made, key


@pytest.mark.parametrize("verify", ["optional", "required"])
def test_clients_show_a_certificate_where_asked(tmp_path: Path, verify: str) -> None:
    ours = certificate(tmp_path, "our-ca")
    certificate(tmp_path, "phone", ours)
    certificate(tmp_path, "stranger", certificate(tmp_path, "their-ca"))
    role = hub()
    asks = {"hub.web": {"ca": str(tmp_path / "our-ca.crt"), "verify": verify}}
    run = a_run(role)
    with (
        a_program(role.provides[0].behind or 0),
        a_front(run, front_client_certificates=asks) as front,
    ):
        url = f"https://{front.address}:{role.provides[0].number}/x"

        def asked(who: str | None) -> Any:
            context: ssl.SSLContext = front.tls()
            if who:
                context.load_cert_chain(tmp_path / f"{who}.crt", tmp_path / f"{who}.key")
            spoofed = {"X-SSL-Client-CN": "admin"}
            return fetch(url, ssl=context, server_hostname="comms", headers=spoofed)

        until(lambda: asked("phone")[0] == 200)
        assert asked("phone")[1]["headers"]["x-ssl-client-cn"] == ["phone"]
        with pytest.raises((OSError, ClientError)):
            asked("stranger")
        if verify == "required":
            with pytest.raises((OSError, ClientError)):
                asked(None)
        else:
            assert "x-ssl-client-cn" not in asked(None)[1]["headers"]

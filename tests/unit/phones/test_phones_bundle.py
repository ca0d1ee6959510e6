"""What a phone is given: judged by openssl, by an XML parser, by age, and by a reader of QR codes."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import zxingcpp
from phones_kit import TAILNET, TODAY, Handset, a_parcel, in_a_tailnet, openssl, pin_of
from role_kit import FakeRun, dual, fleet, guest

from hearth.errors import HearthError
from hearth.phones.bundle import Parcel, contents, opened, sealed
from hearth.phones.credentials import kept
from hearth.phones.page import codes, page
from hearth.phones.places import places
from hearth.secrets import Secret, age


def a_home() -> FakeRun:
    return FakeRun(
        fleet(
            dual("home-assistant", 134, "home_assistant", "front_door"),
            guest("comms", 135, "mosquitto"),
            guest("security", 140, "vaultwarden"),
        )
    )


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return a_home()


@pytest.fixture(scope="module")
def parcel(run: FakeRun) -> Parcel:
    return a_parcel(run)


@pytest.fixture
def handset(parcel: Parcel, tmp_path: Path) -> Handset:
    return Handset.unpacked(parcel, tmp_path / "phone")


# ------------------------------------------------------------------------------------------ the bundle


def test_its_passphrase_opens_it_and_it_holds_exactly_what_it_should(parcel: Parcel) -> None:
    files = opened(sealed(parcel), parcel.credentials.bundle)
    assert files == contents(parcel) | {"anna.p12": files["anna.p12"]}  # PKCS#12 has a salt of its own
    assert set(files) == {"README.txt", "phone.json", "anna.p12", "ca.crt", "network_security_config.xml"}


@pytest.mark.slow
def test_another_passphrase_does_not_open_it(parcel: Parcel) -> None:
    with pytest.raises(age.AgeError):
        opened(sealed(parcel), Secret("another-passphrase"))


def test_nothing_of_it_can_be_read_as_it_is(parcel: Parcel) -> None:
    data = sealed(parcel, (age.recipient_of(age.generate_identity()),))
    assert data.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")
    for word in (b"phone.json", b"192.168.1.134", parcel.credentials.mqtt.reveal().encode()):
        assert word not in data


def test_a_bundle_for_a_key_opens_with_that_key_alone(parcel: Parcel) -> None:
    mine, other = age.generate_identity(), age.generate_identity()
    data = sealed(parcel, (age.recipient_of(mine),))
    with zipfile.ZipFile(BytesIO(age.decrypt(data, [mine]))) as archive:
        assert "anna.p12" in archive.namelist()
        assert {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()} == {0o600}
    with pytest.raises(age.AgeError):
        age.decrypt(data, [other])
    with pytest.raises(age.AgeError):
        age.decrypt_with_passphrase(data, parcel.credentials.bundle)


def test_what_the_app_reads(run: FakeRun, parcel: Parcel, handset: Handset) -> None:
    config = handset.config
    assert config["biometric_required"] is True
    assert config["mqtt"] == {
        "hosts": ["192.168.1.134", "home-assistant.home.test", "home-assistant.tail.example"],
        "port": 8883,
        "username": "phone-anna",
        "password": run.secrets.get("mqtt/phone-anna").reveal(),
        "topics": "phones/anna/#",
    }
    assert config["home_assistant"]["urls"][0] == "https://192.168.1.134:8123"
    assert config["home_assistant"]["urls"][-1] == "https://home-assistant.tail.example:8123"
    assert config["home_assistant"]["username"] == "phone-anna"
    invitation = "https://my.home-assistant.io/invite#url=https%3A%2F%2F192.168.1.134%3A8123"
    assert config["home_assistant"]["invitation"] == invitation
    assert config["services"]["vaultwarden.web"]["lan"][0] == "192.168.1.140", "no door leads there"
    assert config["client_certificate"]["serial"] == parcel.phone.serial
    secrets = {text for text in json.dumps(config).split('"') if len(text) > 20}
    assert not secrets & {run.secrets.get("ca/key").reveal(), run.secrets.get("phone/anna/key").reveal()}


def test_the_flag_for_a_finger_or_a_face_follows_the_list() -> None:
    assert (
        json.loads(contents(a_parcel(a_home(), biometric=False))["phone.json"])["biometric_required"] is False
    )


def test_a_home_without_home_assistant_or_broker_has_no_part_of_them() -> None:
    found = json.loads(contents(a_parcel(FakeRun(fleet(guest("s", 140, "vaultwarden")))))["phone.json"])
    assert "mqtt" not in found
    assert "home_assistant" not in found
    with pytest.raises(HearthError, match="where a phone finds the home"):
        places(fleet(guest("data", 139)), a_home().roles)


def test_without_a_tailnet_there_are_the_addresses_at_home(run: FakeRun) -> None:
    found = places(run.fleet, run.roles)
    door, vault = ("192.168.1.134", "home-assistant.home.test"), ("192.168.1.140", "security.home.test")
    assert set(found.hosts) == {*door, *vault}


def test_a_guest_that_is_in_no_tailnet_has_no_name_there(run: FakeRun) -> None:
    found = places(in_a_tailnet(run.fleet, "security"), run.roles).hosts
    assert f"home-assistant.{TAILNET}" in found
    assert f"security.{TAILNET}" not in found


# ---------------------------------------------------------------------------------- the client's certificate


def test_openssl_opens_the_pkcs12_file_with_its_passphrase_alone(handset: Handset) -> None:
    own = handset.config["client_certificate"]
    path = handset.folder / own["file"]
    whole = openssl("pkcs12", "-in", path, "-passin", f"pass:{own['passphrase']}", "-nodes", "-info")
    assert whole.count(b"BEGIN CERTIFICATE") == 2, "the phone's own and the CA"
    assert whole.count(b"BEGIN PRIVATE KEY") == 1
    with pytest.raises(AssertionError):
        openssl("pkcs12", "-in", path, "-passin", "pass:wrong", "-nodes")


def test_androids_importer_knows_how_the_pkcs12_file_is_encrypted(handset: Handset) -> None:
    own = handset.config["client_certificate"]
    command = ["pkcs12", "-in", str(handset.folder / own["file"]), "-passin", f"pass:{own['passphrase']}"]
    done = subprocess.run(
        ["openssl", *command, "-noout", "-info"], capture_output=True, text=True, check=True
    )
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in done.stderr
    assert "PBES2" not in done.stderr


def test_it_is_a_clients_certificate_and_no_servers(handset: Handset) -> None:
    authority, own = handset.folder / "ca.crt", handset.folder / "client.pem"
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", authority, own)
    with pytest.raises(AssertionError, match="purpose"):
        openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority, own)
    shown = openssl("x509", "-in", own, "-noout", "-subject", "-serial", "-ext", "extendedKeyUsage").decode()
    assert "CN = anna" in shown
    assert f"serial={handset.config['client_certificate']['serial']}" in shown
    assert "TLS Web Client Authentication" in shown


def test_what_is_kept_makes_the_same_bundle_again(run: FakeRun, parcel: Parcel) -> None:
    again = kept(run.secrets, "anna")
    assert again
    repeated = replace(parcel, credentials=again)
    before, after = contents(parcel), contents(repeated)
    assert {name for name in before if before[name] != after[name]} <= {"anna.p12"}, "that one is salted"
    assert again.key.private_numbers() == parcel.credentials.key.private_numbers()
    assert again.bundle.reveal() == parcel.credentials.bundle.reveal()
    assert kept(run.secrets, "berta") is None


# ------------------------------------------------------------------------------- whom the app trusts


def test_the_pins_are_what_openssl_computes(run: FakeRun, handset: Handset) -> None:
    authority = openssl("x509", "-in", handset.folder / "ca.crt", "-outform", "DER")
    backup = run.secrets.get("ca/backup-key").reveal().encode()
    public = openssl("pkey", "-pubout", stdin=backup)
    spki = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
    digest = openssl("dgst", "-sha256", "-binary", stdin=spki)
    encoded = openssl("enc", "-base64", stdin=digest).decode().strip()
    assert handset.config["pins"] == [pin_of(authority), f"sha256/{encoded}"]


def test_no_leaf_is_pinned(run: FakeRun, handset: Handset) -> None:
    leaf = run.authority.leaf("comms", (), ())
    der = openssl("x509", "-outform", "DER", stdin=leaf.cert_pem.encode())
    assert pin_of(der) not in handset.config["pins"]


def test_the_security_config_is_as_android_documents_it(handset: Handset) -> None:
    root = ElementTree.fromstring((handset.folder / "network_security_config.xml").read_text())
    assert root.tag == "network-security-config"
    assert all(each.get("cleartextTrafficPermitted") == "false" for each in root)
    (home,) = root.findall("domain-config")
    hosts = {
        host for each in handset.config["services"].values() for host in (*each["lan"], *each["tailnet"])
    }
    assert {each.text for each in home.findall("domain")} == hosts
    assert {each.get("includeSubdomains") for each in home.findall("domain")} == {"false"}
    assert [each.get("src") for each in home.findall("trust-anchors/certificates")] == ["@raw/hearth_ca"]
    (pins,) = home.findall("pin-set")
    assert pins.get("expiration") is None, "pins that run out are as good as none"
    assert [f"sha256/{each.text}" for each in pins] == handset.config["pins"]
    assert {each.get("digest") for each in pins} == {"SHA-256"}


# ------------------------------------------------------------------------------------------ the page


class Drawings(HTMLParser):
    """What a page refers to, and the paths that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.refers: list[str] = []
        self.drawn: list[tuple[int, str]] = []
        self._size = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        self.tags.add(tag)
        self.refers += [str(given[name]) for name in ("src", "href", "data", "action") if given.get(name)]
        if tag == "svg":
            self._size = int(given["viewbox"].split()[2])
        if tag == "path" and "stroke" in given:
            self.drawn.append((self._size, given["d"]))


def read(size: int, path: str, zoom: int = 4) -> str:
    """What a reader of QR codes sees in a path: `M x y`, then moves `m` and strokes `h` one module wide."""
    x, y = 0.0, 0.0
    rows = [bytearray(b"\xff" * size * zoom) for _ in range(size * zoom)]
    for kind, numbers in re.findall(r"([Mmh])([^Mmh]*)", path):
        values = [float(each) for each in re.findall(r"-?[\d.]+", numbers)]
        if kind == "h":
            for row in range(int(y) * zoom, int(y) * zoom + zoom):
                start, end = int(x) * zoom, int(x + values[0]) * zoom
                rows[row][start:end] = b"\x00" * (end - start)
            x += values[0]
        elif kind == "m":
            x, y = x + values[0], y + values[1]
        else:
            x, y = values
    image = memoryview(b"".join(rows)).cast("B", (size * zoom, size * zoom))
    (found,) = zxingcpp.read_barcodes(image)
    return str(found.text)


def parsed(text: str) -> Drawings:
    found = Drawings()
    found.feed(text)
    return found


def test_a_phone_reads_what_the_page_shows(parcel: Parcel) -> None:
    text = page(parcel, "anna.age", TODAY)
    seen = [read(*drawn) for drawn in parsed(text).drawn]
    invitation = parcel.places.invitation
    pins = "\n".join(f"sha256/{each}" for each in parcel.pins)
    assert seen == [parcel.credentials.bundle.reveal(), invitation, pins]
    assert seen == [code.text for code in codes(parcel)]
    assert all(code.text.split("\n")[0] in text for code in codes(parcel)), "in letters too"


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(parcel: Parcel) -> None:
    text = page(parcel, "anna.age", TODAY)
    found = parsed(text)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert found.refers == []
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_page_alone_lets_nobody_in(run: FakeRun, parcel: Parcel) -> None:
    text = page(parcel, "anna.age", TODAY)
    given = parcel.credentials
    for secret in (given.mqtt, given.home_assistant, given.p12, run.secrets.get("phone/anna/key")):
        assert secret.reveal() not in text


def test_the_page_of_a_bundle_for_a_key_has_no_passphrase(parcel: Parcel) -> None:
    text = page(parcel, "anna.age", TODAY, sealed_for_keys=True)
    assert parcel.credentials.bundle.reveal() not in text
    assert [read(*drawn) for drawn in parsed(text).drawn] == [code.text for code in codes(parcel)][1:]

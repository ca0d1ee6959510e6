"""The way to the home's own Prometheus and Alertmanager: TLS with the home's authority, and a login."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.monitored import Place, place_of
from hearth.pki import Authority
from hearth.report import alerts
from hearth.role.declaration import Port, Role
from hearth.secrets import Secret, SecretStore

LOGIN = "Basic " + base64.b64encode(b"admin:open sesame").decode()
ALERT = {"labels": {"alertname": "GuestDown", "severity": "critical", "guest": "data"}, "annotations": {}}


class Server:
    """An Alertmanager's answer behind TLS and a login, on loopback."""

    def __init__(self, authority: Authority, place: Path, name: str = "127.0.0.1") -> None:
        leaf = authority.leaf("monitoring", [], [name])
        (place / "cert.pem").write_text(leaf.fullchain_pem)
        (place / "key.pem").write_text(leaf.key_pem.reveal())
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                good = self.headers.get("Authorization") == LOGIN
                body = json.dumps([ALERT]) if good else "no"
                self.send_response(200 if good else 401)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "cert.pem", place / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"https://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    store = SecretStore(tmp_path / "secrets.age", tmp_path / "age.key")
    return Authority(store, lambda: datetime.now(UTC))


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Iterator[Server]:
    found = Server(authority, tmp_path)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_alerts_are_asked_for_with_the_homes_authority_and_a_login(
    server: Server, authority: Authority
) -> None:
    place = Place("Alertmanager", server.url, authority.ca_pem, "admin", Secret("open sesame"))
    (found,) = alerts.alerts(place.ask(alerts.PATH, active="true"))
    assert (found.name, found.about) == ("GuestDown", "data")
    assert server.asked == ["/api/v2/alerts?active=true"]


def test_a_wrong_password_is_said_and_not_shown(server: Server, authority: Authority) -> None:
    place = Place("Alertmanager", server.url, authority.ca_pem, "admin", Secret("wrong one"))
    with pytest.raises(HearthError, match="it answered 401") as caught:
        place.ask(alerts.PATH)
    assert "wrong one" not in str(caught.value) + repr(place)


def test_somebody_elses_certificate_is_not_believed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(SecretStore(tmp_path / "other/secrets.age", tmp_path / "other/age.key"))
    place = Place("Alertmanager", server.url, other.ca_pem, "admin", Secret("open sesame"))
    with pytest.raises(HearthError, match="cannot ask Alertmanager"):
        place.ask(alerts.PATH)
    assert server.asked == []


def a_run(authority: Authority, *guests: Guest) -> Any:
    role = Role(name="alerts", provides=(Port("web", 9093, tls=True),))
    found = SimpleNamespace(find=lambda name: Secret("open sesame") if name == "alerts/admin" else None)
    return SimpleNamespace(
        fleet=Fleet(nodes=(), networks=(), guests=guests),
        roles={"alerts": role},
        secrets=found,
        authority=authority,
    )


def test_where_it_is(authority: Authority) -> None:
    guest = Guest(
        name="monitoring",
        kind="vm",
        node="pve",
        vmid=137,
        address=IPv4Address("192.168.1.137"),
        roles=("alerts",),
    )
    place = place_of(a_run(authority, guest), "alerts", "web", "Alertmanager")
    assert place is not None
    assert (place.url, place.user, place.name) == (
        "https://192.168.1.137:9093",
        "admin",
        "Alertmanager on monitoring",
    )
    assert place.password is not None and place.password.reveal() == "open sesame"
    assert place_of(a_run(authority), "alerts", "web", "Alertmanager") is None

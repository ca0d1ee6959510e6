"""Advice: what a real Prometheus says of a recorded week, what is made of it, and which line it means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from week_kit import Life, a_week

from hearth.advise.decide import Advice, advise, together, written
from hearth.advise.lines import line_of
from hearth.advise.measured import Measured, measure
from hearth.cli.main import cli
from hearth.errors import HearthError
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Guest
from hearth.monitored import Place
from hearth.role.declaration import Role

FINE = Measured(days=7, memory=600, busy=1.0, disk=4096, disk_size=16384, grows=0)


def a_guest(name: str = "comms", **more: Any) -> Guest:
    known: dict[str, Any] = {"memory": 1024, "cores": 2, "disk": 16384}
    return Guest(
        name=name, kind="lxc", node="pve", vmid=135, address=IPv4Address("192.168.1.135"), **(known | more)
    )


# ------------------------------------------------------------- a real Prometheus

LIVES = (
    Life("fine"),
    Life("starved", used=950),
    Life("peaky", used=480, peaks=True),
    Life("idle", memory=4096, used=300, cores=4, busy=0.1),
    Life("busy", busy=1.9),
    Life("full", full=14000),
    Life("growing", full=8192, grows=400),
    Life("killed", used=700, kills=3),
    Life("limited", kills=3),
    Life("young", days=2),
)


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Measured]]:
    with a_week(LIVES) as place:
        yield measure(place.ask, 7)


def test_a_week_is_measured(seen: dict[str, Measured]) -> None:
    assert set(seen) == {life.name for life in LIVES}
    fine = seen["fine"]
    assert 6.9 < fine.days <= 7.01
    assert fine.memory == pytest.approx(512, abs=1)
    assert fine.busy == pytest.approx(1.0, abs=0.05)
    assert (fine.disk, fine.disk_size) == (pytest.approx(4096, abs=1), pytest.approx(16384, abs=1))
    assert fine.grows == pytest.approx(0, abs=1)
    assert seen["peaky"].memory == pytest.approx(960, abs=1)
    assert seen["growing"].grows == pytest.approx(400, abs=5)
    assert seen["killed"].kills == pytest.approx(3, abs=0.5)
    assert 1.9 < seen["young"].days < 2.1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fine", []),
        ("starved", [("memory", "too small")]),
        ("peaky", [("memory", "too small")]),
        ("idle", [("memory", "too large"), ("cores", "too large")]),
        ("busy", [("cores", "too small")]),
        ("full", [("disk", "too small")]),
        ("growing", [("disk", "too small")]),
        ("killed", [("memory", "too small")]),
        ("limited", []),
        ("young", []),
    ],
)
def test_what_is_said_of_each(seen: dict[str, Measured], name: str, said: list[tuple[str, str]]) -> None:
    life = next(life for life in LIVES if life.name == name)
    guest = a_guest(name, memory=int(life.memory), cores=life.cores, disk=int(life.disk))
    found = list(advise(guest, seen[name]))
    assert [(one.key, one.verdict) for one in found] == said
    for one in found:  # who follows the advice is not told to go back
        after = guest.model_copy(update={one.key: one.better})
        again = replace(seen[name], kills=0, disk_size=float(after.disk or 0))
        assert not [other for other in advise(after, again) if other.key == one.key]


# -------------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("seen", "key", "better"),
    [
        (replace(FINE, memory=900), "memory", 1536),
        (replace(FINE, memory=1000), "memory", 1536),
        (replace(FINE, memory=300), "memory", 512),
        (replace(FINE, busy=1.7), "cores", 3),
        (replace(FINE, busy=0.4), "cores", 1),
        (replace(FINE, disk=13500), "disk", 20480),
        (replace(FINE, disk=9000, grows=500), "disk", 59 * 1024),
        (replace(FINE, disk=9000, grows=-500), None, None),
        (replace(FINE, days=6.4, memory=1000), None, None),
        (replace(FINE, memory=None, busy=None, disk=None), None, None),
    ],
)
def test_sizes(seen: Measured, key: str | None, better: int | None) -> None:
    found = list(advise(a_guest(), seen))
    assert [(one.key, one.better) for one in found] == ([(key, better)] if key else [])


def test_what_the_fleet_file_does_not_say_is_not_advised() -> None:
    assert list(advise(a_guest(memory=None, cores=None, disk=None), replace(FINE, memory=5000, busy=9))) == []


def test_guests_of_one_entry_share_their_advice() -> None:
    guests = [a_guest(f"worker-{number}", group="worker", memory=2048) for number in (1, 2)]
    low, high = replace(FINE, memory=300), replace(FINE, memory=1900)
    assert together(guests, {"worker-1": low, "worker-2": replace(FINE, memory=1500)}) == []
    (smaller,) = together(guests, {"worker-1": low, "worker-2": replace(low, memory=350)})
    assert (smaller.guest, smaller.better) == ("worker", 640)
    (larger,) = together(guests, {"worker-1": low, "worker-2": high})
    assert (larger.guest, larger.verdict) == ("worker", "too small")


@pytest.mark.parametrize(
    ("key", "value", "text"), [("memory", 768, "768 MiB"), ("disk", 20480, "20 GiB"), ("cores", 3, "3")]
)
def test_as_the_fleet_file_has_it(key: Any, value: int, text: str) -> None:
    assert written(key, value) == text


# ------------------------------------------------------------------- fleet file

FLEET = """\
nodes:
  pve: {address: 127.0.0.1, endpoint: "https://127.0.0.1:9", storage: a1, images: b1}
networks:
  lan: {bridge: vmbr0, subnet: 192.168.1.0/24}
defaults:
  cores: 1
  lxc:
    memory: 512 MiB
guests:
  comms:
    kind: lxc
    address: 192.168.1.135
    memory: 1 GiB
  worker:
    kind: lxc
    count: 2
    address: 192.168.1.150-159
"""


def test_the_line_that_is_meant(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    fleet = load_fleet(file, {"base": Role(name="base")})
    comms, worker = fleet.guest("comms"), fleet.guest("worker-2")
    assert (line_of(file, comms, "memory").number, line_of(file, comms, "memory").own) == (13, True)
    assert (line_of(file, worker, "memory").number, line_of(file, worker, "memory").own) == (8, False)
    assert (line_of(file, worker, "cores").number, line_of(file, worker, "cores").at) == (6, 14)


def test_without_monitoring_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "roles").mkdir()
    (tmp_path / "group_data").mkdir()
    with pytest.raises(HearthError, match="role monitoring"):
        CliRunner(env={"HEARTH_FLEET": "fleet.yaml"}).invoke(
            cli, ["--project", str(tmp_path), "advise"], catch_exceptions=False
        )


# ----------------------------------------------------------------- bad answers


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>", "no JSON"),
        (200, "[]", "another shape"),
        (200, '{"status": "error", "error": "bad query"}', "bad query"),
        (200, '{"status": "success", "data": {}}', "another shape"),
        (401, "no", "it answered 401"),
        (503, "starting", "it answered 503"),
    ],
)
def test_a_prometheus_that_answers_otherwise(status: int, body: str, words: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(HearthError, match=words):
            measure(Place("Prometheus", f"http://127.0.0.1:{server.server_port}").ask, 7)
    finally:
        server.shutdown()
        server.server_close()


def test_a_prometheus_that_is_not_there() -> None:
    with pytest.raises(HearthError, match="cannot ask Prometheus on monitoring"):
        measure(Place("Prometheus on monitoring", "http://127.0.0.1:9").ask, 7)


def test_advice_as_json() -> None:
    one = Advice("comms", "memory", 1024, 512, "why")
    assert one.to_json() == {
        "guest": "comms", "key": "memory", "now": 1024, "better": 512, "verdict": "too large", "why": "why",
    }  # fmt: skip


# ---------------------------------------------------------------- whole command

HOME = """\
nodes:
  pve: {address: 127.0.0.1, endpoint: "https://127.0.0.1:9", storage: a1, images: b1}
networks:
  lan: {bridge: vmbr0, subnet: 127.9.9.0/24}
defaults:
  lxc: {memory: 512 MiB}
guests:
  monitoring:
    kind: lxc
    address: 127.9.9.137
    memory: 1 GiB
    cores: 2
    roles: [monitoring]
  comms:
    kind: lxc
    address: 127.9.9.135
    cores: 4
  data:
    kind: lxc
    address: 127.9.9.136
    memory: 1 GiB
  young:
    kind: lxc
    address: 127.9.9.138
"""
MONITORING = """\
from hearth.role.declaration import Port, Role

role = Role(provides=(Port("web", {port}),))


@role.deploy
def deploy(here):
    pass
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose monitoring guest is a real Prometheus on loopback."""
    place = tmp_path_factory.mktemp("home")
    lives = (
        Life("monitoring"),
        Life("comms", memory=512, used=480, cores=4, busy=3.9),
        Life("data"),
        Life("young", days=1),
    )
    for folder in ("inventory", "roles", "group_data"):
        (place / folder).mkdir()
    (place / "inventory" / "fleet.yaml").write_text(HOME)
    with a_week(lives, "127.9.9.137") as prometheus:
        port = prometheus.url.rpartition(":")[2]
        (place / "roles" / "monitoring.py").write_text(MONITORING.replace("{port}", port))
        (place / "roles" / "base.py").write_text(MONITORING.replace('Port("web", {port}),', ""))
        yield place


def asked(project: Path, *arguments: str) -> Any:
    env = {"HEARTH_FLEET": None, "HEARTH_SECRETS": None, "HEARTH_AGE_KEY_FILE": str(project / "age.key")}
    done = CliRunner(env=env).invoke(
        cli, ["--project", str(project), "advise", *arguments], catch_exceptions=False
    )
    assert done.return_value in (0, None)
    return done


def test_the_command_names_each_line_to_change(project: Path) -> None:
    lines = asked(project).output.splitlines()
    assert lines[0].startswith("comms: memory is too small: it uses up to 480 of 512 MiB (94 %)")
    assert (
        lines[1].strip() == "fleet.yaml:14: add `memory: 640 MiB` to comms, which has the default of line 6"
    )
    assert lines[2].startswith("comms: cores is too small")
    assert lines[3].strip() == "fleet.yaml:17: cores: 7"
    assert lines[4].startswith("young: measured for 1.0 of 7 days")
    assert len(lines) == 5


def test_the_command_as_json(project: Path) -> None:
    found = json.loads(asked(project, "--json").output)
    assert [(one["guest"], one["key"], one["line"], one["own"]) for one in found["advice"]] == [
        ("comms", "memory", 14, False),
        ("comms", "cores", 17, True),
    ]
    assert found["not_measured"] == {"young": 1.0}

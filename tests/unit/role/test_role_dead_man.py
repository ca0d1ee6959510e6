"""The dead man tells when monitoring gives no sign of life, and when it is back."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitor_kit import environment, folder, put, running, until
from role_kit import PROJECT, FakeRun, fleet, guest
from telling_kit import PYTHON, Service, a_ntfy, a_run, asked, messages, tls_before

from hearth.errors import HearthError
from roles import dead_man

sys.path.insert(0, str(PROJECT / "apps"))
sys.modules.setdefault("apprise", type(sys)("apprise"))  # what sends is not used here
from alert_relay.watch import Watch, decide, load, save  # noqa: E402

pytestmark = pytest.mark.slow

AFTER, AGAIN = 300.0, 3600.0


def said(signs: list[tuple[float, Any]], watch: Watch | None = None) -> list[tuple[float, str]]:
    """When what is said after looks with these answers."""
    found, now = [], watch or Watch()
    for at, sign in signs:
        now, message = decide(now, sign, at, AFTER, AGAIN)
        if message:
            found.append((at, message.title))
    return found


def test_nothing_is_said_while_it_lives() -> None:
    assert said([(at, "alive") for at in range(100, 10_000, 30)]) == []


def test_silence_is_told_once_then_again_after_hours_and_its_end_once() -> None:
    signs: list[tuple[float, Any]] = [(at, "silent") for at in range(1000, 9000, 30)]
    found = said([*signs, (9000, "alive"), (9030, "alive")])
    assert [title for _, title in found] == ["Monitoring is dead"] * 3 + ["over: monitoring is back"]
    assert [at for at, _ in found] == [1000, 4600, 8200, 9000]


def test_a_server_that_cannot_be_asked_is_given_time() -> None:
    assert said([(at, "deaf") for at in range(1000, 1290, 30)]) == []
    assert said([(at, "deaf") for at in range(1000, 1400, 30)]) == [(1300, "ntfy cannot be asked")]


def test_a_moment_of_deafness_says_nothing_at_all() -> None:
    assert said([(1000, "alive"), (1030, "deaf"), (1060, "alive")]) == []


def test_who_could_tell_nobody_tells_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    from alert_relay import watch as program

    taken: list[str] = []
    works = [False, False, True, True]
    monkeypatch.setattr(program, "look", lambda _: "silent")
    monkeypatch.setattr(program, "tell", lambda _, message: works.pop(0) and not taken.append(message.title))
    settings = {"after": 300, "again": 3600, "targets": {}}
    now = Watch()
    for at in (1000, 1030, 1060, 1090):
        now = program.step(now, settings, at)
    assert taken == ["Monitoring is dead"]


def test_what_was_said_survives_a_restart_and_half_a_file_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert load(file) == Watch()
    watch = Watch("silent", 5.0, 6.0)
    save(watch, file)
    assert load(file) == watch
    file.write_text('{"wrong": "sil')
    assert load(file) == Watch()


def test_he_is_refused_where_he_would_die_with_it() -> None:
    both = FakeRun(fleet(guest("monitoring", 137, "monitoring", "alerts", "ntfy", "dead_man")))
    with pytest.raises(HearthError, match="another guest"):
        dead_man.dead_man(both.here("monitoring", "dead_man"))


class Listening:
    """The dead man with ntfy's stand-in, and another service that he tells."""

    def __init__(self, root: Path, run: FakeRun, port: int, service: Service) -> None:
        self.root, self.run, self.port, self.service = root, run, port, service

    def sign(self) -> None:
        """A sign of life, as the relay leaves it."""
        login = "alerts-monitoring", self.run.secrets.get("ntfy/alerts-monitoring").reveal()
        assert asked(f"http://127.0.0.1:{self.port}/heartbeat", login, b"alive")[0] == 200

    def told(self) -> list[str]:
        return [one["title"] for one in messages(self.port, self.run)]


def ready(root: Path, run: FakeRun, other: int, **changes: Any) -> tuple[list[Any], dict[str, Any]]:
    """The dead man's files as the role writes them, with changes; his command, and how it is started."""
    run.secrets.put("alerts/other", f"json://127.0.0.1:{other}/")
    here = run.here("localhost", "dead_man", alerts_targets={"other": "alerts/other"}, dead_man_every=1)
    ca = root / "ca.crt"
    ca.write_text(run.authority.ca_pem)
    found = {**json.loads(dead_man.settings(here)), "ca": str(ca), **changes}
    (root / "settings.json").write_text(json.dumps(found))
    put(root, dead_man.program(here))
    command = [PYTHON, "-B", "-m", "alert_relay.watch", root / "settings.json", root / "state.json"]
    return command, {"cwd": Path(f"{root}{dead_man.LIBRARY}").parent, "env": environment(ca)}


def moved(root: Path, outer: int) -> None:
    """ntfy is at another port here."""
    file = root / "settings.json"
    file.write_text(file.read_text().replace("localhost:2586", f"localhost:{outer}"))


@pytest.fixture
def listening() -> Iterator[Listening]:
    run, service = a_run(), Service()
    with (
        folder() as root,
        service.there() as other,
        a_ntfy(run, root) as port,
        tls_before(port, run, "localhost") as outer,
    ):
        command, how = ready(root, run, other, after=5)
        moved(root, outer)
        with running(*command, log=root / "log", **how):
            yield Listening(root, run, port, service)


@pytest.mark.slow
def test_the_real_one_tells_that_monitoring_is_dead_and_that_it_is_back(listening: Listening) -> None:
    for _ in range(8):
        listening.sign()
        time.sleep(1)
    assert listening.told() == []
    log = listening.root / "log"
    until(lambda: "Monitoring is dead" in listening.told(), why=log.read_text)
    until(lambda: [each["title"] for each in listening.service.heard] == ["Monitoring is dead"])
    listening.sign()
    until(lambda: "over: monitoring is back" in listening.told())
    assert listening.told().count("Monitoring is dead") == 1
    assert listening.run.secrets.get("ntfy/dead-man-localhost").reveal() not in log.read_text()


@pytest.mark.slow
def test_an_ntfy_that_is_gone_is_told_to_the_others() -> None:
    run, service = a_run(), Service()
    with folder() as root, service.there() as other:
        with a_ntfy(run, root) as port, tls_before(port, run, "localhost") as outer:
            gone = outer
        targets = {"other": f"json://127.0.0.1:{other}/"}
        command, how = ready(root, run, other, after=3, targets=targets)
        moved(root, gone)
        with running(*command, log=root / "log", **how):
            (told,) = until(lambda: service.heard, why=(root / "log").read_text)
    assert told["title"] == "ntfy cannot be asked"

"""People are told: what Alertmanager groups reaches ntfy and others, once each, and is said to be over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitor_kit import a_home, environment, folder, listens, put, running, until
from ops_kit import Absent, preparing
from role_kit import PROJECT, FakeRun, fleet, group_data, guest
from telling_kit import PYTHON, Service, a_ntfy, a_relay, a_run, asked, messages, tls_before

from hearth import run as runs
from hearth.errors import HearthError
from hearth.role.here import Here
from hearth.role.telling import targets
from roles import alerts, dead_man, ntfy
from tests.ports import free_port

sys.path.insert(0, str(PROJECT / "apps"))
from alert_relay.message import message

pytestmark = pytest.mark.slow

FIRING = {
    "status": "firing",
    "labels": {"alertname": "GuestDown", "guest": "comms", "severity": "critical"},
    "annotations": {"summary": "comms does not answer", "runbook_url": "https://monitoring:9090/x.html"},
}


def over(alert: dict[str, Any]) -> dict[str, Any]:
    return {**alert, "status": "resolved"}


def other(**labels: str) -> dict[str, Any]:
    found = {**FIRING["labels"], **labels}  # type: ignore[dict-item]
    return {**FIRING, "labels": found, "annotations": {"summary": f"{found['guest']} is unwell"}}


# ------------------------------------------------------------------------- the words


def test_one_alert_in_words() -> None:
    told = message({"alerts": [FIRING]})
    assert (told.title, told.body) == ("GuestDown: comms", "• comms does not answer")
    assert (told.priority, told.kind, told.tags) == ("max", "failure", ("rotating_light",))
    assert told.link == "https://monitoring:9090/x.html"


def test_several_are_one_message_as_loud_as_the_loudest() -> None:
    told = message({"alerts": [other(guest="data", severity="info"), FIRING, over(other(guest="old"))]})
    assert told.title == "GuestDown: data, comms (2)"
    assert told.body.splitlines() == ["• data is unwell", "• comms does not answer", "over: old is unwell"]
    assert told.priority == "max"


def test_what_is_over_is_quiet() -> None:
    told = message({"alerts": [over(FIRING)]})
    assert told.title == "over: GuestDown: comms"
    assert (told.priority, told.kind, told.tags) == ("low", "success", ("white_check_mark",))


def test_many_are_counted() -> None:
    told = message({"alerts": [other(guest=f"g{number}") for number in range(50)]})
    assert len(told.body.splitlines()) == 21
    assert told.body.endswith("and 30 more")
    assert len(told.title) < 80


@pytest.mark.parametrize("group", [{}, {"alerts": []}, {"alerts": ["x"]}, {"alerts": {}}])
def test_what_is_no_group_is_refused(group: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="alerts"):
        message(group)


def test_labels_of_strange_kinds_do_no_harm() -> None:
    assert message({"alerts": [{"status": "firing", "labels": None, "annotations": 3}]}).title == "alert"


# ------------------------------------------------------------------- what is rendered


def judged(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "alertmanager.yml"
    file.write_text(text)
    return subprocess.run(["amtool", "check-config", file], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "run", [a_home(), FakeRun(fleet(guest("monitoring", 137, "alerts")))], ids=["whole", "bare"]
)
def test_amtool_accepts_it(run: FakeRun, tmp_path: Path) -> None:
    done = judged(alerts.config_text(run.here("monitoring", "alerts")), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_refuses_a_broken_one(tmp_path: Path) -> None:
    text = alerts.config_text(a_home().here("monitoring", "alerts"))
    assert judged(text.replace("receiver: people", "receiver: nowhere"), tmp_path).returncode != 0


def test_each_target_has_an_integration_of_its_own() -> None:
    run = a_home()
    run.secrets.put("alerts/mail", "mailto://anna:secret@example.org")
    here = run.here("monitoring", "alerts", alerts_targets={"mail": "alerts/mail"})
    config = yaml.safe_load(alerts.config_text(here))
    (people,) = [each for each in config["receivers"] if each["name"] == "people"]
    assert [each["url"].rpartition("/")[2] for each in people["webhook_configs"]] == ["ntfy", "mail"]
    assert "secret@example" not in alerts.config_text(here)


def test_nobody_is_told_of_the_alert_that_is_always_there() -> None:
    for run in (a_home(), FakeRun(fleet(guest("monitoring", 137, "alerts")))):
        text = alerts.config_text(run.here("monitoring", "alerts"))
        (route,) = yaml.safe_load(text)["route"]["routes"]
        assert route["receiver"] in ("heartbeat", "nobody")


@pytest.mark.parametrize("given", [["x"], {"ntfy": "x"}, {"a b": "x"}, {"mail": ""}, {"mail": 3}])
def test_targets_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(HearthError, match="alerts_targets"):
        targets(a_home().here("monitoring", "alerts", alerts_targets=given))


def test_the_relay_refuses_a_url_that_apprise_does_not_know(tmp_path: Path) -> None:
    for url, well in (("mailto://a:b@example.org", True), ("pigeon://coop", False), ("", False)):
        file = tmp_path / "settings.json"
        file.write_text(json.dumps({"listen": ["127.0.0.1", 1], "targets": {"x": url}, "heartbeat": None}))
        command = [PYTHON, "-B", "-m", "alert_relay", "--check", file]
        done = subprocess.run(command, cwd=PROJECT / "apps", capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is well, done.stderr
        if not well:
            assert "x" in done.stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"listen": [1], "targets": {}}', '{"targets": {}}'])
def test_the_relay_refuses_settings_that_are_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    command = [PYTHON, "-B", "-m", "alert_relay", "--check", file]
    assert subprocess.run(command, cwd=PROJECT / "apps", capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(("module", "name"), [(alerts, "alerts"), (dead_man, "dead_man"), (ntfy, "ntfy")])
def test_all_of_it_is_planned_on_a_guest_that_does_not_exist(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_home()
    monkeypatch.setattr(runs, "current", lambda: run)
    (own,) = run.fleet.with_role(name)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        run.roles[name].deployer(Here(run, own, host, run.roles[name]))  # type: ignore[misc]
        changes = [data.operation_meta.will_change for data in host.state.ops[host].values()]
    assert module
    assert changes
    assert all(changes)


# ------------------------------------------------------------------ the real programs


class Told:
    """Alertmanager and the relay, ntfy's stand-in behind TLS, and another service."""

    def __init__(self, root: Path, run: FakeRun, ntfy_port: int) -> None:
        self.root, self.run, self.ntfy = root, run, ntfy_port
        self.port = free_port()
        self.service = Service()

    def raised(self, name: str, ends: timedelta = timedelta(hours=1), **labels: str) -> None:
        """An alert as Prometheus would send it."""
        now = datetime.now(UTC)
        alert = {
            "labels": {"alertname": name, "severity": "critical", **labels},
            "annotations": {"summary": f"{name} on {labels.get('guest')}", "runbook_url": "https://x/y.html"},
            "startsAt": (now - timedelta(minutes=5)).isoformat(),
            "endsAt": (now + ends).isoformat(),
        }
        login = "prometheus:" + self.run.secrets.get("alerts/prometheus").reveal()
        command = ["curl", "-sf", "--noproxy", "*", "--cacert", self.root / "ca.crt", "-u", login]
        command += ["-H", "Content-Type: application/json", "-d", json.dumps([alert])]
        command += [f"https://localhost:{self.port}/api/v2/alerts"]
        subprocess.run(command, check=True)

    def said(self, word: str, topic: str = "alerts", reader: str = "admin") -> list[dict[str, Any]]:
        found = messages(self.ntfy, self.run, topic, reader)
        return [one for one in found if word in one.get("title", "") + one["message"]]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    run = a_run()
    with folder() as root, a_ntfy(run, root) as port, tls_before(port, run, "localhost") as outer:
        home = Told(root, run, port)
        with home.service.there() as other_port:
            run.secrets.put("alerts/other", f"json://127.0.0.1:{other_port}/")
            here = run.here(
                "monitoring",
                "alerts",
                alerts_targets={"other": "alerts/other"},
                alerts_group_wait=1,
                alerts_group_interval=1,
                alerts_heartbeat=2,
            )
            settings = alerts.relay_files(here)[0]
            (root / "relay").mkdir()
            with a_relay(run, root / "relay", {}) as _:
                pass  # as the role writes it without further targets, it runs too
            relay_port = free_port()
            put(
                root,
                [settings, *alerts.program(here)],
                {"@localhost:2586": f"@localhost:{outer}", str(alerts.RELAY): str(relay_port)},
            )
            files = [*alerts.web_files(here)]
            put(root, files)
            config = alerts.config_text(here).replace(str(alerts.RELAY), str(relay_port))
            (root / "am.yml").write_text(config)
            leaf = run.authority.leaf("localhost", ["localhost"], ["127.0.0.1"])
            (root / "etc/alertmanager/server.crt").write_text(leaf.cert_pem)
            (root / "etc/alertmanager/server.key").write_text(leaf.key_pem.reveal())
            (root / "ca.crt").write_text(run.authority.ca_pem)
            with (
                running(
                    PYTHON, "-B", "-m", "alert_relay", f"{root}{alerts.SETTINGS}",
                    log=root / "relay.log",
                    cwd=Path(f"{root}{alerts.LIBRARY}").parent,
                    env=environment(root / "ca.crt"),
                ),
                running(
                    "prometheus-alertmanager", f"--config.file={root}/am.yml",
                    f"--web.config.file={root}/etc/alertmanager/web.yml",
                    f"--web.listen-address=127.0.0.1:{home.port}", "--cluster.listen-address=",
                    f"--storage.path={root}/am",
                    log=root / "am.log",
                    env=environment(),
                ),
            ):  # fmt: skip
                until(lambda: listens(home.port) and listens(relay_port), why=(root / "am.log").read_text)
                yield home


@pytest.mark.slow
class TestPeopleAreTold:
    """From Prometheus' alert to a phone."""

    def test_an_alert_reaches_ntfy_with_its_page_and_clears(self, told: Told) -> None:
        told.raised("GuestDown", guest="comms")
        (one,) = until(lambda: told.said("GuestDown: comms"))
        assert (one["message"], one["click"]) == ("• GuestDown on comms", "https://x/y.html")
        assert one["priority"] == 5
        assert one["tags"] == ["rotating_light"]
        told.raised("GuestDown", ends=timedelta(seconds=-1), guest="comms")
        (clear,) = until(lambda: told.said("over: GuestDown: comms"))
        assert clear["priority"] < 3

    def test_another_target_is_told_too(self, told: Told) -> None:
        told.raised("DiskFull", guest="data")
        (one,) = until(lambda: [each for each in told.service.heard if "DiskFull" in each["title"]])
        assert one["type"] == "failure"
        assert "https://x/y.html" in one["message"]

    def test_several_of_a_kind_are_one_message(self, told: Told) -> None:
        for name in ("a", "b", "c"):
            told.raised("PortClosed", guest=name)
        found = until(lambda: told.said("PortClosed on c"))
        assert "PortClosed on a" in found[-1]["message"]

    def test_what_a_guest_that_is_down_would_say_is_not_said(self, told: Told) -> None:
        told.raised("GuestDown", guest="gone")
        until(lambda: told.said("GuestDown on gone"))
        told.raised("ServiceStopped", guest="gone")
        told.raised("ServiceStopped", guest="there")
        until(lambda: told.said("ServiceStopped on there"))
        assert not told.said("ServiceStopped on gone")

    def test_a_target_that_refuses_is_tried_again_and_the_others_are_told_once(self, told: Told) -> None:
        told.service.refuses = True
        try:
            told.raised("ZigbeeDown", guest="monitoring")
            until(lambda: told.said("ZigbeeDown"))
        finally:
            told.service.refuses = False
        until(lambda: [each for each in told.service.heard if "ZigbeeDown" in each["title"]])
        assert len(told.said("ZigbeeDown")) == 1

    def test_signs_of_life_are_left_for_the_dead_man_and_told_to_nobody(self, told: Told) -> None:
        told.raised("Watchdog", severity="none")
        until(lambda: told.said("monitoring lives", "heartbeat", "dead-man-localhost"))
        assert not told.said("Watchdog")
        assert not told.said("monitoring lives")

    def test_strangers_raise_nothing(self, told: Told) -> None:
        for login in ("prometheus:wrong", "admin:", "x:y"):
            command = ["curl", "-s", "--noproxy", "*", "--cacert", told.root / "ca.crt", "-u", login, "-o"]
            command += [
                "/dev/null",
                "-w",
                "%{http_code}",
                "-d",
                "[]",
                f"https://localhost:{told.port}/api/v2/alerts",
            ]
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "401"

    def test_no_password_is_in_the_relays_journal(self, told: Told) -> None:
        log = (told.root / "relay.log").read_text()
        for name in ("ntfy/alerts-monitoring", "alerts/prometheus"):
            assert told.run.secrets.get(name).reveal() not in log


# ------------------------------------------------------------------------------ ntfy


@pytest.mark.slow
def test_ntfys_users_may_do_what_they_are_for_and_no_more() -> None:
    run = a_run()
    with folder() as root, a_ntfy(run, root) as port:

        def answers(user: str, topic: str, body: bytes | None = None, password: str | None = None) -> int:
            secret = run.secrets.get(f"ntfy/{user}").reveal() if password is None else password
            what = topic if body is not None else f"{topic}/json?poll=1"
            return asked(f"http://127.0.0.1:{port}/{what}", (user, secret), body)[0]

        may = {
            ("admin", "alerts", False), ("alerts-monitoring", "alerts", True),
            ("alerts-monitoring", "heartbeat", True), ("dead-man-localhost", "alerts", True),
            ("dead-man-localhost", "heartbeat", False),
        }  # fmt: skip
        for user in ("admin", "alerts-monitoring", "dead-man-localhost"):
            for topic in ("alerts", "heartbeat", "else"):
                for write in (False, True):
                    wanted = 200 if (user, topic, write) in may else 403
                    assert answers(user, topic, b"x" if write else None) == wanted, (user, topic, write)
            assert answers(user, "alerts", password="wrong") == 401
        assert asked(f"http://127.0.0.1:{port}/alerts/json?poll=1")[0] == 403
        assert asked(f"http://127.0.0.1:{port}/alerts", None, b"x")[0] == 403


@pytest.mark.parametrize("given", ["anna", ["a b"], [""], [3]])
def test_readers_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(HearthError, match="ntfy_readers"):
        ntfy.configuration(a_run().here("localhost", "ntfy", ntfy_readers=given))


def test_what_is_hearths_is_not_taken_from_group_data() -> None:
    with pytest.raises(HearthError, match="auth-default-access"):
        ntfy.configuration(
            a_run().here("localhost", "ntfy", ntfy_settings={"auth-default-access": "read-write"})
        )
    text = ntfy.configuration(
        a_run().here("localhost", "ntfy", ntfy_settings={"upstream-base-url": "https://x"})
    ).text
    assert yaml.safe_load(text)["upstream-base-url"] == "https://x"


def test_a_second_run_writes_the_same() -> None:
    run = a_run()
    first, second = (ntfy.configuration(run.here("localhost", "ntfy")) for _ in range(2))
    assert first.text == second.text
    assert run.secrets.get("ntfy/admin").reveal() not in first.text


def test_phones_find_it_at_the_front_door() -> None:
    assert ntfy.base_url(a_home().here("mqtt-standby", "ntfy")) == "https://192.168.1.134:2586"
    assert ntfy.base_url(a_run().here("localhost", "ntfy")) == "https://127.0.0.2:2586"
    named = a_run().here("localhost", "ntfy", ntfy_url="https://push.example.org/")
    assert ntfy.base_url(named) == "https://push.example.org"

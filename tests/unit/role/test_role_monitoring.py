"""What Prometheus asks, probes and tells: from the fleet alone, as Prometheus' own programs judge it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitor_kit import a_home, alone, environment, folder, listens, put, running, until
from ops_kit import Absent, planned, preparing
from role_kit import FakeRun, fleet, group_data, guest

from hearth import run as runs
from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.declaration import Metrics, Port, Role
from hearth.role.here import Here
from hearth.role.served import served
from hearth.role.tokens import token_name
from hearth.role.watched import probes, scrapes
from hearth.secrets import MissingSecretError
from roles import metrics as metrics_role
from roles import monitoring as role
from roles.monitoring import configuration, exporters, pages
from tests.ports import free_port

pytestmark = pytest.mark.slow

TOKEN = token_name("monitoring-monitoring")


def a_run() -> FakeRun:
    run = a_home()
    run.secrets.put(TOKEN, "minted by Home Assistant")
    return run


def rendered(run: FakeRun, **data: Any) -> configuration.PrometheusFiles:
    return configuration.prometheus_files(run.here("monitoring", "monitoring", **data))


def config(run: FakeRun, **data: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(rendered(run, **data).proven[0].text))


def targets(found: dict[str, Any], job: str) -> dict[str, dict[str, str]]:
    """Target -> its labels, of one job."""
    (wanted,) = [each for each in found["scrape_configs"] if each["job_name"] == job]
    return {each["targets"][0]: each["labels"] for each in wanted["static_configs"]}


def promtool(files: tuple[File, ...], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of the files, in a stage as on a guest."""
    authority = tmp_path / "ca.crt"
    authority.write_text("x")
    put(tmp_path, files, {"/usr/local/share/ca-certificates/hearth.crt": str(authority)})
    command = ["promtool", "check", "config", f"{tmp_path}{configuration.FOLDER}/prometheus.yml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------------- what is asked


def test_promtool_accepts_it(tmp_path: Path) -> None:
    done = promtool(rendered(a_run()).proven, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_promtool_refuses_a_broken_one(tmp_path: Path) -> None:
    files = rendered(a_run()).proven
    broken = (File(files[0].path, files[0].text.replace("honor_labels", "honest_labels")), *files[1:])
    assert promtool(broken, tmp_path).returncode != 0


def test_promtool_accepts_its_logins(tmp_path: Path) -> None:
    (web,) = [file for file in rendered(a_run()).proven if file.path.endswith("check-web.yml")]
    put(tmp_path, [web])
    done = subprocess.run(
        ["promtool", "check", "web-config", f"{tmp_path}{web.path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_guest_is_asked_about_itself() -> None:
    run = a_run()
    found = targets(config(run), "metrics.node")
    assert {labels["guest"] for labels in found.values()} == {each.name for each in run.fleet.guests}
    assert found["comms:9100"] == {"guest": "comms", "role": "metrics"}


def test_a_new_guest_is_watched_without_a_word() -> None:
    run = a_run()
    more = guest("new", 150, "wall", "metrics", "mosquitto")
    grown = FakeRun(fleet(*run.fleet.guests, more))
    grown.secrets.put(TOKEN, "x")
    found = config(grown)
    assert "new:9100" in targets(found, "metrics.node")
    assert targets(found, "probe.tls")["new:8883"]["service"] == "mosquitto.mqtts"
    assert targets(found, "probe.ping")["192.168.1.150"]["guest"] == "new"


def test_a_new_role_is_watched_without_a_word() -> None:
    run = a_run()
    run.roles["greeter"] = Role(
        name="greeter",
        provides=(
            Port("web", 8700, tls=True, audience="lan", health="http", path="/well", metrics=Metrics("/m")),
            Port("inner", 8701, audience="host", metrics=Metrics()),
        ),
    )
    grown = FakeRun(fleet(*run.fleet.guests, guest("hall", 151, "greeter")), roles=run.roles)
    grown.secrets.put(TOKEN, "x")
    found = config(grown)
    assert targets(found, "greeter.web") == {"hall:8700": {"guest": "hall", "role": "greeter"}}
    assert targets(found, "probe.https")["https://hall:8700/well"] == {
        "guest": "hall",
        "service": "greeter.web",
        "way": "lan",
    }
    assert "8701" not in str(found), "loopback is nobody else's"


def test_every_open_tcp_port_is_probed_and_no_other() -> None:
    run = a_run()
    found = {(probe.guest, probe.service) for probe in probes(run.fleet, run.roles) if probe.way == "lan"}
    wanted = {
        (each.guest.name, f"{each.role.name}.{each.port.name}")
        for each in served(run.fleet, run.roles)
        if each.port.protocol == "tcp" and each.port.audience != "host"
    }
    pings = {(each.name, "ping") for each in (*run.fleet.guests, *run.fleet.nodes)}
    assert found == wanted | pings


def test_the_front_door_is_tried_as_a_phone_does() -> None:
    run = a_run()
    door = {probe.target for probe in probes(run.fleet, run.roles) if probe.way == "door"}
    assert {"home-assistant:8883", "home-assistant:1883", "https://home-assistant:2586/v1/health"} == door


def test_each_is_asked_with_its_own_login() -> None:
    jobs = {job["job_name"]: job for job in config(a_run())["scrape_configs"]}
    assert jobs["metrics.node"]["basic_auth"]["username"] == "prometheus"
    assert jobs["home_assistant.web"]["authorization"]["credentials_file"].startswith("secrets/")
    assert jobs["home_assistant.web"]["metrics_path"] == "/api/prometheus"
    assert all(
        jobs[name]["scheme"] == "https" for name in ("metrics.node", "home_assistant.web", "monitoring.web")
    )


def test_no_password_is_in_its_configuration_and_secret_files_are_its_own() -> None:
    run = a_run()
    found = rendered(run)
    values = [run.secrets.get(name).reveal() for name in run.secrets.names() if not name.endswith("-salt")]
    for file in (*found.proven, *found.read_when_used):
        if any(value in file.text for value in values if "BEGIN CERT" not in value):
            assert (file.user, file.mode, file.secret) == ("prometheus", "600", True), file.path


def test_home_assistants_token_may_come_during_the_run() -> None:
    run = a_home()
    (token,) = [file for file in rendered(run).proven if "home-assistant" in file.path]
    with pytest.raises(MissingSecretError):
        _ = token.text
    run.secrets.put(TOKEN, "now")
    assert token.text == "now"


def test_alertmanager_is_told_where_there_is_one() -> None:
    found = config(a_run())["alerting"]["alertmanagers"][0]
    assert found["static_configs"] == [{"targets": ["monitoring:9093"]}]
    small = FakeRun(fleet(guest("monitoring", 137, "metrics", "monitoring")))
    assert "alerting" not in config(small)


def test_without_brokers_and_databases_nobody_asks_them() -> None:
    small = FakeRun(fleet(guest("monitoring", 137, "metrics", "monitoring")))
    here = small.here("monitoring", "monitoring")
    assert exporters.asked(here) == ()
    assert [each.title for each in exporters.helpers(here)] == ["prober"]
    assert set(exporters.removed(here)) == {"mqtt-metrics.service", "prometheus-postgres-exporter.service"}


# ------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "data",
    [
        {"monitoring_slow": 0},
        {"monitoring_disk_free": "ten"},
        {"monitoring_backup_hours": True},
        {"monitoring_probes": ["http://x"]},
        {"monitoring_probes": {"x": "ftp://x"}},
        {"monitoring_interval": 1},
    ],
)
def test_a_wrong_value_is_refused_in_words(data: dict[str, Any]) -> None:
    with pytest.raises(HearthError, match="monitoring"):
        rendered(a_run(), **data)


def test_two_guests_with_it_are_refused() -> None:
    both = FakeRun(fleet(guest("one", 150, "monitoring"), guest("two", 151, "monitoring")))
    with pytest.raises(HearthError, match="one guest"):
        role.monitoring(both.here("one", "monitoring"))


def test_the_admins_own_addresses_are_probed() -> None:
    found = config(a_run(), monitoring_probes={"router": "http://192.168.1.1/"})
    assert targets(found, "probe.http")["http://192.168.1.1/"]["guest"] == "router"


def test_a_page_with_anything_in_it_is_shown_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "X.md"
    page.write_text("# X\n\n`{{ $labels }}` <b> & `code`\n")
    text = pages._page(page)
    assert text.count("`") == 2
    assert "&lt;b&gt;" in text


def test_all_of_it_is_planned_on_a_guest_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run()
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        role.monitoring(Here(run, run.fleet.guest("monitoring"), host, run.roles["monitoring"]))
        changes = dict(planned(host))
    assert changes
    # What a fresh guest does not have has not to be taken away.
    assert {name for name, change in changes.items() if not change} <= {
        name for name in changes if "Have no" in name
    }


# ------------------------------------------------------------------- the real programs


def test_the_blackbox_exporter_accepts_its_modules(tmp_path: Path) -> None:
    file = tmp_path / "blackbox.yml"
    file.write_text(exporters.blackbox_text())
    command = ["prometheus-blackbox-exporter", "--config.check", f"--config.file={file}"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def get(url: str, login: tuple[str, str], ca: Path) -> tuple[int, str]:
    """What an HTTPS server on loopback says to a login."""
    command = [
        "curl",
        "-s",
        "--noproxy",
        "*",
        "--cacert",
        ca,
        "-w",
        "\n%{http_code}",
        url,
        "-u",
        ":".join(login),
    ]
    text, _, code = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition(
        "\n"
    )
    return int(code), text


class Watched:
    """Prometheus, a node exporter and the probes on loopback, as the roles render them for localhost."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = alone("metrics", "monitoring")
        self.here = self.run.here(
            "localhost", "monitoring", monitoring_interval=5, monitoring_probe_interval=5
        )
        self.web, self.node, self.probes = free_port(), free_port(), free_port()
        self.ca = root / "ca.crt"
        self.ca.write_text(self.run.authority.ca_pem)

    @property
    def moved(self) -> dict[str, str]:
        return {
            "/usr/local/share/ca-certificates/hearth.crt": str(self.ca),
            "localhost:9100": f"localhost:{self.node}",
            "localhost:9090": f"localhost:{self.web}",
            f"127.0.0.1:{exporters.BLACKBOX}": f"127.0.0.1:{self.probes}",
            "/etc/node-exporter": f"{self.root}/etc/node-exporter",
        }

    def write(self) -> None:
        found = configuration.prometheus_files(self.here)
        # Port 22 is this machine's own business.
        files = [*found.proven, *found.read_when_used, File("/blackbox.yml", exporters.blackbox_text())]
        node = metrics_role.exporter_files(self.run.here("localhost", "metrics"))
        put(self.root, [*files, *node], self.moved)

    def asked(self, query: str) -> list[dict[str, Any]]:
        url = f"https://localhost:{self.web}/api/v1/query?query={urllib.request.quote(query)}"
        code, text = get(url, self.login, self.ca)
        assert code == 200, text
        return list(json.loads(text)["data"]["result"])

    @property
    def login(self) -> tuple[str, str]:
        return "admin", self.run.secrets.get("monitoring/admin").reveal()


@pytest.fixture(scope="module")
def watched() -> Any:
    """All three, running."""
    with folder() as root:
        home = Watched(root)
        home.write()
        texts = root / "texts"
        texts.mkdir()
        (texts / "backup.prom").write_text(
            'hearth_backup_state_bytes{guest="comms",role="mosquitto"} 1\n'
            'hearth_backup_guest_ok{guest="comms"} 0\n'
        )
        at = f"{root}{configuration.FOLDER}"
        with (
            running(
                "prometheus-node-exporter",
                f"--web.listen-address=127.0.0.1:{home.node}",
                f"--web.config.file={root}/etc/node-exporter/web.yml",
                f"--collector.textfile.directory={texts}",
                log=root / "node.log",
            ),
            running(
                "prometheus-blackbox-exporter",
                f"--config.file={root}/blackbox.yml",
                f"--web.listen-address=127.0.0.1:{home.probes}",
                log=root / "blackbox.log",
                env=environment(home.ca),
            ),
            running(
                "prometheus",
                f"--config.file={at}/prometheus.yml",
                f"--web.config.file={at}/web.yml",
                f"--web.listen-address=127.0.0.1:{home.web}",
                f"--web.console.templates={at}/consoles",
                f"--storage.tsdb.path={root}/data",
                log=root / "prometheus.log",
                env=environment(),
            ),
        ):
            until(
                lambda: all(map(listens, (home.web, home.node, home.probes))),
                why=(root / "prometheus.log").read_text,
            )
            yield home


@pytest.mark.slow
class TestItWatches:
    """The real Prometheus with its exporters."""

    def test_what_is_rendered_is_asked_and_answers(self, watched: Watched) -> None:
        wanted = {each.job for each in scrapes(watched.run.fleet, watched.run.roles)}
        found = until(
            lambda: {row["metric"]["job"] for row in watched.asked("up == 1")} >= wanted,
            why=lambda: str(watched.asked("up")),
        )
        assert found

    def test_what_a_guest_says_of_another_keeps_its_name(self, watched: Watched) -> None:
        rows = until(lambda: watched.asked("hearth_backup_state_bytes"))
        assert [(row["metric"]["guest"], row["metric"]["role"]) for row in rows] == [("comms", "mosquitto")]
        assert watched.asked('node_textfile_mtime_seconds{file=~".*backup.prom"}')

    def test_a_port_with_our_certificate_is_well_and_tells_its_end(self, watched: Watched) -> None:
        rows = until(lambda: watched.asked('probe_success{service="metrics.node"} == 1'))
        assert rows
        ends = until(
            lambda: watched.asked('(probe_ssl_earliest_cert_expiry{service="metrics.node"} - time())/86400')
        )
        assert 390 < float(ends[0]["value"][1]) < 398

    def test_an_alert_fires_with_its_page_and_says_whom_it_is_about(self, watched: Watched) -> None:
        def alerts() -> list[dict[str, Any]]:
            _, text = get(f"https://localhost:{watched.web}/api/v1/alerts", watched.login, watched.ca)
            return [
                a for a in json.loads(text)["data"]["alerts"] if a["labels"]["alertname"] == "BackupFailed"
            ]

        (alert,) = until(alerts)
        assert alert["labels"]["guest"] == "comms"
        assert alert["annotations"]["summary"] == "a backup of comms, or one that it makes, has failed"
        page = alert["annotations"]["runbook_url"]
        code, text = get(page, watched.login, watched.ca)
        assert code == 200
        assert "# BackupFailed" in text
        assert "<title>BackupFailed</title>" in text

    @pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/query?query=up", "/consoles/GuestDown.html"])
    @pytest.mark.parametrize("login", [("admin", "wrong"), ("prometheus", "x"), ("", "")])
    def test_nobody_else_gets_in(self, watched: Watched, path: str, login: tuple[str, str]) -> None:
        assert get(f"https://localhost:{watched.web}{path}", login, watched.ca)[0] == 401

    def test_a_guest_tells_prometheus_alone(self, watched: Watched) -> None:
        url = f"https://localhost:{watched.node}/metrics"
        password = watched.run.secrets.get("metrics/prometheus").reveal()
        code, text = get(url, ("prometheus", password), watched.ca)
        assert code == 200
        assert "node_filesystem_avail_bytes" in text
        assert get(url, ("prometheus", "wrong"), watched.ca)[0] == 401
        assert get(url, ("admin", password), watched.ca)[0] == 401

    def test_it_speaks_no_old_tls_and_no_plain_http(self, watched: Watched) -> None:
        for port in (watched.web, watched.node):
            old = ["curl", "-s", "--noproxy", "*", "--tls-max", "1.1", "--cacert", watched.ca]
            old += ["--ciphers", "DEFAULT@SECLEVEL=0", f"https://localhost:{port}/"]
            assert subprocess.run(old, capture_output=True, check=False).returncode in (35, 4)
            plain = [
                "curl",
                "-s",
                "--noproxy",
                "*",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                f"http://localhost:{port}/",
            ]
            assert subprocess.run(plain, capture_output=True, text=True, check=False).stdout == "400"

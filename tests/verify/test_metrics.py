"""What a guest tells monitoring: to nobody else, over TLS, with a password; its services are looked at."""

from __future__ import annotations

import time
from typing import Any

from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest
from hearth.role.watched import TEXTFILES

UNIT = "prometheus-node-exporter.service"
AUTHORITY = "/usr/local/share/ca-certificates/hearth.crt"
ASK = f"curl -s --noproxy '*' --cacert {AUTHORITY} -o /dev/null -w '%{{http_code}}'"


def test_it_answers_to_the_password_alone(under_test: UnderTest, guest: Guest, host: Any) -> None:
    url = f"https://{guest.name}:9100/metrics"
    password = under_test.secret("metrics/prometheus")
    asked = "--config - <<'E'\nuser = \"prometheus:{}\"\nE"
    assert host.check_output(f"{ASK} {url} {asked.format(password)}") == "200"
    assert host.check_output(f"{ASK} {url} {asked.format('wrong')}") == "401"
    assert host.check_output(f"{ASK} {url}") == "401"


def test_it_sees_the_guests_disk_as_the_guest_has_it(under_test: UnderTest, guest: Guest, host: Any) -> None:
    """Not as its own walls show it: read-only."""
    login = f'user = "prometheus:{under_test.secret("metrics/prometheus")}"'
    command = f"curl -s --noproxy '*' --cacert {AUTHORITY} https://{guest.name}:9100/metrics --config -"
    text = host.check_output(f"{command} <<'E'\n{login}\nE")
    root = [line for line in text.splitlines() if 'mountpoint="/"' in line]
    assert any(line.startswith("node_filesystem_avail_bytes") for line in root)
    assert [line[-1] for line in root if line.startswith("node_filesystem_readonly")] == ["0"]


def test_it_runs_confined(host: Any) -> None:
    assert_confined(host, UNIT, "node-exporter")


def test_services_are_looked_at(host: Any) -> None:
    text = host.check_output(f"cat {TEXTFILES}/hearth_services.prom")
    assert f'hearth_service_up{{unit="{UNIT}"}} 1' in text
    stamp = int(host.check_output(f"stat -c %Y {TEXTFILES}/hearth_services.prom"))
    assert abs(int(host.check_output("date +%s")) - stamp) < 120


def test_a_stopped_service_is_seen(host: Any) -> None:
    """The timer itself is stopped for a moment: a unit of ours that is enabled and does not run."""
    host.check_output("systemctl stop hearth-metrics.timer && systemctl start hearth-metrics.service")
    try:
        text = host.check_output(f"cat {TEXTFILES}/hearth_services.prom")
        assert 'hearth_service_up{unit="hearth-metrics.timer"} 0' in text
    finally:
        host.check_output("systemctl start hearth-metrics.timer hearth-metrics.service")
    time.sleep(1)
    assert 'hearth_service_up{unit="hearth-metrics.timer"} 1' in host.check_output(
        f"cat {TEXTFILES}/hearth_services.prom"
    )

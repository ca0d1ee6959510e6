"""Alertmanager: the alert that is always there is there; strangers stay out; the relay is local."""

from __future__ import annotations

import json
from typing import Any

from patience import missing_none
from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest

# Prometheus sends an alert again after a minute (its resend-delay); Alertmanager forgets all with a restart.
PATIENCE = 90
CURL = "curl -s --noproxy '*' --cacert /usr/local/share/ca-certificates/hearth.crt"


def test_the_alert_that_is_always_there_is_there(under_test: UnderTest, guest: Guest, host: Any) -> None:
    password = under_test.secret("alerts/admin")
    command = f"{CURL} https://{guest.name}:9093/api/v2/alerts --config -"

    def said() -> set[str]:
        alerts = json.loads(host.check_output(f"{command} <<'E'\nuser = \"admin:{password}\"\nE"))
        return {alert["labels"]["alertname"] for alert in alerts}

    missing_none(said, {"Watchdog"}, PATIENCE)


def test_nobody_looks_in_without_a_login(guest: Guest, host: Any) -> None:
    for path in ("/", "/api/v2/alerts", "/api/v2/silences"):
        code = host.check_output(f"{CURL} -o /dev/null -w '%{{http_code}}' https://{guest.name}:9093{path}")
        assert code == "401", path


def test_its_own_checker_accepts_its_configuration(host: Any) -> None:
    assert host.run("amtool check-config /etc/alertmanager/hearth.yml").rc == 0


def test_the_relay_is_well_and_on_loopback_alone(host: Any) -> None:
    assert host.run("curl -sf --noproxy '*' http://127.0.0.1:19093/health").rc == 0
    assert "127.0.0.1:19093" in host.check_output("ss -Hltn 'sport = :19093'")


def test_both_run_confined(host: Any) -> None:
    assert_confined(host, "prometheus-alertmanager.service", "alertmanager")
    assert_confined(host, "alert-relay.service", "alert-relay")


def test_the_relays_passwords_are_its_own(host: Any) -> None:
    file = host.file("/etc/alert-relay/settings.json")
    assert (file.user, file.mode) == ("alert-relay", 0o600)

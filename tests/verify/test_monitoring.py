"""Prometheus: all of the fleet is asked and probed, and answers; nobody looks in without a login."""

from __future__ import annotations

import json
from typing import Any

from patience import missing_none
from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest
from hearth.role.watched import probes, scrapes

PATIENCE = 120  # seconds: a first look of everything
CURL = "curl -s --noproxy '*' --cacert /usr/local/share/ca-certificates/hearth.crt"


def asked(under_test: UnderTest, guest: Guest, host: Any, query: str) -> list[dict[str, Any]]:
    """The answer to a query."""
    password = under_test.secret("monitoring/admin")
    command = f"{CURL} -G https://{guest.name}:9090/api/v1/query --data-urlencode query='{query}' --config -"
    said = host.check_output(f"{command} <<'E'\nuser = \"admin:{password}\"\nE")
    return list(json.loads(said)["data"]["result"])


def test_all_that_tells_something_is_asked_and_answers(
    under_test: UnderTest, guest: Guest, host: Any
) -> None:
    wanted = {(each.job, each.guest) for each in scrapes(under_test.fleet, under_test.roles)}

    def found() -> set[tuple[str, str]]:
        rows = [row["metric"] for row in asked(under_test, guest, host, "up == 1")]
        return {(row["job"], row["guest"]) for row in rows}

    missing_none(found, wanted, PATIENCE)


def test_all_ports_are_probed_and_answer(under_test: UnderTest, guest: Guest, host: Any) -> None:
    wanted = {
        (each.guest, each.service, each.way)
        for each in probes(under_test.fleet, under_test.roles)
        if each.service != "ping"
    }

    def found() -> set[tuple[str, str, str]]:
        rows = [row["metric"] for row in asked(under_test, guest, host, "probe_success == 1")]
        return {(row["guest"], row["service"], row["way"]) for row in rows}

    missing_none(found, wanted, PATIENCE)


def test_its_rules_are_evaluated(under_test: UnderTest, guest: Guest, host: Any) -> None:
    assert asked(under_test, guest, host, 'ALERTS{alertname="Watchdog",alertstate="firing"}')
    failed = asked(under_test, guest, host, "sum(prometheus_rule_evaluation_failures_total)")
    assert all(float(row["value"][1]) == 0 for row in failed)


def test_nobody_looks_in_without_a_login(guest: Guest, host: Any) -> None:
    for path in ("/", "/metrics", "/api/v1/query?query=up", "/consoles/GuestDown.html"):
        code = host.check_output(f"{CURL} -o /dev/null -w '%{{http_code}}' 'https://{guest.name}:9090{path}'")
        assert code == "401", path


def test_a_page_for_an_alert_is_there(under_test: UnderTest, guest: Guest, host: Any) -> None:
    password = under_test.secret("monitoring/admin")
    command = f"{CURL} https://{guest.name}:9090/consoles/GuestDown.html --config -"
    said = host.check_output(f"{command} <<'E'\nuser = \"admin:{password}\"\nE")
    assert "# GuestDown" in said


def test_its_own_checker_accepts_its_configuration(host: Any) -> None:
    assert host.run("promtool check config /etc/prometheus/hearth/prometheus.yml").rc == 0


def test_it_and_its_helpers_run_confined(host: Any) -> None:
    assert_confined(host, "prometheus.service", "prometheus")
    assert_confined(host, "prometheus-blackbox-exporter.service", "blackbox")


def test_its_secrets_are_its_own(host: Any) -> None:
    names = host.check_output("find /etc/prometheus/hearth/secrets -type f").split()
    assert names
    for name in [*names, "/etc/prometheus/hearth/server.key", "/etc/prometheus/hearth/web.yml"]:
        assert (host.file(name).user, host.file(name).mode) == ("prometheus", 0o600), name

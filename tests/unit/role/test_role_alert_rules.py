"""Every alert fires on its cause, is silent before and after, and has a page: `promtool test rules`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import CASES, EXPLAINED, Case
from monitor_kit import a_home
from role_kit import PROJECT

from roles.monitoring import configuration, rules

pytestmark = pytest.mark.slow

RUN = a_home()
LONG = 1500  # minutes; what takes days is not evaluated every minute
PRESENT = frozenset({"config_backup"})


def all_alerts() -> tuple[rules.Alert, ...]:
    return rules.alerts(configuration.limits(RUN.here("monitoring", "monitoring")))


def judged(
    folder: Path, series: dict[str, str], wanted: list[tuple[str, int, bool]]
) -> subprocess.CompletedProcess[str]:
    """Ask promtool whether alerts fire at some minutes, and no other alert with them.

    Args:
        folder: where files go.
        series: the series' values, one a minute.
        wanted: PromQL that gives 0 or 1; the minute; which of the two.
    """
    (folder / "rules.yml").write_text(rules.rules_text(all_alerts(), PRESENT, "https://x/{name}.html"))
    asked = [
        {
            "expr": f"count({expr}) or vector(0)",
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }
        for expr, minute, fires in wanted
    ]
    group = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": asked,
    }
    every = "10m" if max(minute for _, minute, _ in wanted) > LONG else "1m"
    test: dict[str, Any] = {"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": [group]}
    (folder / "test.yml").write_text(yaml.safe_dump(test, width=1000))
    return subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True, check=False
    )


def firing(name: str) -> str:
    return f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})'


def others(case: Case) -> str:
    known = "|".join((case.alert, rules.WATCHDOG, *case.also))
    return f'ALERTS{{alertname!~"{known}",alertstate="firing"}}'


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_on_its_cause_and_is_silent_otherwise(case: Case, tmp_path: Path) -> None:
    moments = ((case.quiet, False), (case.fires, True), (case.clears, False))
    wanted = [(firing(case.alert), minute, fires) for minute, fires in moments if minute is not None]
    absent = () if case.alert == "BackupMissing" else ("BackupMissing",)
    alone = Case(case.alert, {}, None, None, None, (*case.also, *absent))
    wanted += [(others(alone), minute, False) for minute, _ in moments if minute is not None]
    done = judged(tmp_path, case.series, wanted)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("series", "alert"), EXPLAINED, ids=[alert for _, alert in EXPLAINED])
def test_what_something_larger_explains_is_silent(series: dict[str, str], alert: str, tmp_path: Path) -> None:
    done = judged(tmp_path, series, [(firing(alert), 50, False)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_would_say_so(tmp_path: Path) -> None:
    case = CASES[0]
    done = judged(tmp_path, case.series, [(firing(case.alert), 20, False)])
    assert done.returncode != 0


def test_every_alert_has_a_case_and_a_page_and_no_page_is_left_over() -> None:
    names = {alert.name for alert in all_alerts()}
    assert names == {case.alert for case in CASES}
    assert names == {page.stem for page in (PROJECT / "docs/runbooks").glob("*.md")}


def test_a_page_says_what_to_do() -> None:
    for page in (PROJECT / "docs/runbooks").glob("*.md"):
        text = page.read_text()
        assert text.startswith(f"# {page.stem}\n"), page
        assert "\n1. " in text, page


@pytest.mark.parametrize("alert", all_alerts(), ids=lambda alert: alert.name)
def test_it_says_where_its_page_is(alert: rules.Alert) -> None:
    text = rules.rules_text([alert], PRESENT, "https://x/{name}.html")
    (rule,) = yaml.safe_load(text)["groups"][1]["rules"]
    assert rule["annotations"]["runbook_url"] == f"https://x/{alert.name}.html"
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")


def test_an_alert_about_a_role_that_nobody_has_is_left_out() -> None:
    there = rules.rules_text(all_alerts(), PRESENT, "{name}")
    without = rules.rules_text(all_alerts(), frozenset(), "{name}")
    assert "BackupMissing" in there
    assert "BackupMissing" not in without

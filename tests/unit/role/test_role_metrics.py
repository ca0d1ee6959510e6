"""The script that looks at services, with a stand-in for systemctl; what promtool says of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from monitor_kit import a_home, alone
from ops_kit import Absent, planned, preparing
from role_kit import group_data

from hearth import run as runs
from hearth.role.here import Here
from roles import metrics

MARK = "# Written by Hearth.\n"
STATES = {
    "mosquitto.service": ("active", "enabled", "yes", "0"),
    "zigbee2mqtt.service": ("activating", "enabled", "yes", "7"),
    "haproxy.service": ("inactive", "enabled", "yes", "0"),
    "nftables.service": ("inactive", "disabled", "yes", "0"),
    "systemd-timesyncd.service": ("inactive", "enabled", "no", "0"),
    "hearth-metrics.timer": ("active", "enabled", "yes", ""),
    "hearth-metrics.service": ("inactive", "static", "no", "0"),
    "vaultwarden.service": ("failed", "generated", "yes", "2"),
    "someones.service": ("active", "enabled", "yes", "0"),
}
FILES = (
    "etc/systemd/system/zigbee2mqtt.service",
    "etc/systemd/system/mosquitto.service.d/hearth.conf",
    "etc/systemd/system/haproxy.service.d/hearth.conf",
    "etc/systemd/system/nftables.service.d/hearth.conf",
    "etc/systemd/system/systemd-timesyncd.service.d/hearth.conf",
    "etc/systemd/system/hearth-metrics.timer",
    "etc/systemd/system/hearth-metrics.service",
    "etc/containers/systemd/vaultwarden.container",
)
SYSTEMCTL = """#!/bin/sh
case $1 in
show) shift 3; for unit; do cat "{root}/states/$unit"; echo; done ;;
list-units) echo 'broken.service loaded failed failed Something broken' ;;
esac
"""


@pytest.fixture
def text(tmp_path: Path) -> str:
    """What the script writes about such a guest."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARK)
    foreign = tmp_path / "etc/systemd/system/someones.service"
    foreign.write_text("# Mine.\n")
    (tmp_path / "states").mkdir()
    for unit, (active, file, condition, restarts) in STATES.items():
        shown = f"Id={unit}\nActiveState={active}\nUnitFileState={file}\nConditionResult={condition}\n"
        (tmp_path / "states" / unit).write_text(shown + (f"NRestarts={restarts}\n" if restarts else ""))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(root=tmp_path))
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "texts").mkdir()
    script = metrics.service_files(alone("metrics").here("localhost", "metrics"))[0].text
    script = script.replace(metrics.TEXTFILES, f"{tmp_path}/texts").replace("/etc/", f"{tmp_path}/etc/")
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    (found,) = (tmp_path / "texts").iterdir()
    assert found.name == "hearth_services.prom"
    assert found.stat().st_mode & 0o777 == 0o644
    return found.read_text()


def test_what_hearth_keeps_running_and_runs_not_is_seen_and_nothing_else(text: str) -> None:
    up = {line.split('"')[1]: line[-1] for line in text.splitlines() if line.startswith("hearth_service_up{")}
    assert up == {
        "mosquitto.service": "1",
        "zigbee2mqtt.service": "0",
        "haproxy.service": "0",
        "hearth-metrics.timer": "1",
        "vaultwarden.service": "0",
    }


def test_restarts_and_failed_units_are_counted(text: str) -> None:
    assert 'hearth_service_restarts_total{unit="zigbee2mqtt.service"} 7\n' in text
    assert 'hearth_unit_failed{unit="broken.service"} 1\n' in text
    assert "hearth_reboot_required 0\n" in text


def test_promtool_finds_nothing_wrong_with_it(text: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_run_writes_the_same_files() -> None:
    run = a_home()
    first, second = (
        [file.text for file in metrics.exporter_files(run.here("comms", "metrics"))] for _ in range(2)
    )
    assert first == second
    assert run.secrets.get("metrics/prometheus").reveal() not in "".join(first)


def test_all_guests_have_the_same_login_and_only_its_hash() -> None:
    run = a_home()
    texts = {metrics.exporter_files(run.here(name, "metrics"))[0].text for name in ("comms", "data")}
    assert len(texts) == 1


def test_all_of_it_is_planned_on_a_guest_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_home()
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        metrics.metrics(Here(run, run.fleet.guest("comms"), host, run.roles["metrics"]))
        changes = dict(planned(host))
    assert changes
    # What a fresh guest does not have has not to be taken away.
    assert {name for name, change in changes.items() if not change} <= {
        name for name in changes if "Have no" in name
    }

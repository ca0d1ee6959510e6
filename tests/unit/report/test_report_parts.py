"""What the page makes of the answers of Proxmox, Alertmanager and the last drill."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.firewall.flows import Flow
from hearth.firewall.sources import sources
from hearth.fleet.model import Fleet, Guest
from hearth.report import alerts, backups, drill, health, topology
from hearth.role.declaration import Need, Port, Role

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DUMP = {"type": "vzdump", "starttime": 100, "endtime": 200, "status": "OK", "id": "135"}


# ----------------------------------------------------------------------- backups


def test_the_newest_backup_of_each_guest_counts_and_nothing_else_does() -> None:
    rows = [
        {**DUMP, "starttime": 300, "endtime": 310, "status": "job errors"},
        DUMP,
        {**DUMP, "id": "136", "endtime": None, "status": None},
        {**DUMP, "id": ""},
        {**DUMP, "type": "vzstart", "id": "137"},
    ]
    found = backups.last("pve", rows)
    assert set(found) == {135, 136, None}
    assert (found[135].result, found[135].good) == ("job errors", False)
    assert found[135].ended == datetime.fromtimestamp(310, UTC)
    assert (found[136].ended, found[136].result, found[136].good) == (None, "running", False)


@pytest.mark.parametrize(
    ("status", "good"), [("OK", True), ("WARNINGS: 2", True), ("interrupted by signal", False)]
)
def test_what_counts_as_success(status: str, good: bool) -> None:
    assert backups.last("pve", [{**DUMP, "status": status}])[135].good is good


@pytest.mark.parametrize(
    ("row", "what", "enabled"),
    [
        ({"id": "a", "all": 1, "schedule": "03:00", "storage": "local"}, "all guests", True),
        ({"id": "a", "all": 1, "exclude": "200", "enabled": 0}, "all guests but 200", False),
        ({"id": "a", "vmid": "135,136", "enabled": 1}, "guests 135,136", True),
        ({"id": "a", "pool": "home"}, "pool home", True),
    ],
)
def test_jobs(row: dict[str, Any], what: str, enabled: bool) -> None:
    (job,) = backups.jobs([row])
    assert (job.what, job.enabled) == (what, enabled)


# ------------------------------------------------------------------------ health


def test_a_node() -> None:
    status = {
        "cpu": 0.25,
        "uptime": 90000,
        "memory": {"used": 1024**3, "total": 4 * 1024**3},
        "rootfs": {"used": 0, "total": 0},
    }
    storages = [{"storage": "local", "used": 1, "total": 2}, {"storage": "off", "total": 0}]
    found = health.node_health({"version": "9.2.11"}, status, storages)
    assert [part.name for part in found.parts] == ["memory", "root disk", "storage local"]
    assert str(found.parts[0]) == "1.0 of 4.0 GiB (25 %)"
    assert found.parts[1].percent == 0


def test_only_what_runs_has_a_health() -> None:
    rows = [
        {"vmid": "135", "status": "running", "mem": 1, "maxmem": 2, "uptime": 9},
        {"vmid": 136, "status": "stopped"},
    ]
    assert set(health.guest_health(rows)) == {135}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (40, "40 s"),
        (60, "1 min"),
        (95.5, "1 min 36 s"),
        (3600, "1 h 0 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert health.duration(seconds) == text


# ------------------------------------------------------------------------ alerts


def test_alerts_the_worst_first_without_the_one_that_is_always_on() -> None:
    def row(name: str, severity: str, state: str = "active") -> dict[str, Any]:
        return {
            "labels": {"alertname": name, "severity": severity, "guest": "comms"},
            "annotations": {"summary": "it is so"},
            "startsAt": "2026-11-30T01:02:03.004Z",
            "status": {"state": state},
        }

    rows = [
        row("B", "warning"),
        row("A", "critical", "suppressed"),
        row("C", "critical"),
        row("Watchdog", "none"),
    ]
    found = alerts.alerts(rows)
    assert [(one.name, one.silenced) for one in found] == [("C", False), ("B", False), ("A", True)]
    assert found[0].since == datetime(2026, 11, 30, 1, 2, 3, 4000, tzinfo=UTC)
    assert (found[0].about, found[0].text) == ("comms", "it is so")


def test_an_alert_that_says_next_to_nothing() -> None:
    (found,) = alerts.alerts([{"startsAt": "soon"}])
    assert (found.name, found.since, found.about) == ("?", None, "")


# ------------------------------------------------------------------------- drill


def test_no_drill(tmp_path: Path) -> None:
    assert drill.read(tmp_path / "drill.json") is None


def test_a_drill_whose_stages_follow_each_other_or_say_when_they_begin(tmp_path: Path) -> None:
    stages = [
        {"name": "guests", "seconds": 10, "ok": True},
        {"name": "state", "seconds": 5, "ok": False, "note": "no"},
        {"name": "beside", "begins": 2, "seconds": 1, "ok": True},
    ]
    (tmp_path / "drill.json").write_text(json.dumps({"began": "2026-11-27T10:00:00+00:00", "stages": stages}))
    found = drill.read(tmp_path / "drill.json")
    assert found is not None
    assert [(stage.begins, stage.seconds) for stage in found.stages] == [(0, 10), (10, 5), (2, 1)]
    assert (found.total, found.good) == (15, False)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"began": "x", "stages": []}', '{"began": "2026-11-27", "stages": [{}]}']
)
def test_a_file_that_is_no_drill(tmp_path: Path, text: str) -> None:
    (tmp_path / "drill.json").write_text(text)
    with pytest.raises(HearthError, match="no drill's result"):
        drill.read(tmp_path / "drill.json")


# ---------------------------------------------------------------------- topology


def a_guest(name: str, last: int) -> Guest:
    return Guest(name=name, kind="lxc", node="pve", vmid=last, address=IPv4Address(f"192.168.1.{last}"))


def test_ways_between_guests() -> None:
    fleet = Fleet(
        nodes=(), networks=(), guests=(a_guest("hub", 135), a_guest("store", 136), a_guest("hall", 134))
    )
    hub, hall = sources([IPv4Address("192.168.1.135")]), sources([IPv4Address("192.168.1.134")])
    everybody = sources([IPv4Address("192.168.1.135"), IPv4Address("192.168.1.134")])
    flows = [
        Flow("store", 5432, "tcp", "fleet", "postgresql.postgres", hub),
        Flow("hub", 23000, "tcp", "door", "hub.web", hall),
        Flow("store", 22, "tcp", "management", "base.ssh", everybody),
    ]
    found = topology.edges(flows, fleet, {})
    assert [(edge.user, edge.provider, edge.door) for edge in found] == [
        ("hall", "hub", True),
        ("hub", "store", False),
    ]
    assert found[1].words == "hub uses store: postgresql.postgres 5432"


def test_what_roles_need_of_each_other_is_a_way_whoever_else_may_come_there() -> None:
    """The broker answers to the whole LAN: no flow is for its users alone."""
    broker = Role(name="broker", provides=(Port("mqtts", 8883, tls=True, audience="lan"),))
    hub = Role(name="hub", needs=(Need("broker", "mqtts"),))
    both = a_guest("both", 135).model_copy(update={"roles": ("hub", "broker")})
    other = a_guest("other", 136).model_copy(update={"roles": ("hub", "unknown")})
    fleet = Fleet(nodes=(), networks=(), guests=(both, other))
    (found,) = topology.edges([], fleet, {"broker": broker, "hub": hub})
    assert (found.user, found.provider, found.ports) == ("other", "both", ("broker.mqtts 8883",))


def test_a_drawing_has_a_row_for_each_and_an_arc_for_each_way() -> None:
    edge, gone = topology.Edge("a", "b", ("x 1",)), topology.Edge("a", "z", ("x 1",))
    found = topology.draw({"pve": ["a"], "pve2": ["b"]}, {"a": "running"}, [edge, gone])
    assert [(row.name, row.node, row.state) for row in found.rows] == [
        ("pve", True, ""), ("a", False, "running"), ("pve2", True, ""), ("b", False, "unknown"),
    ]  # fmt: skip
    assert [arc.edge for arc in found.arcs] == [edge]
    assert len({row.y for row in found.rows}) == 4 and found.height > max(row.y for row in found.rows)


def test_a_drawing_of_nothing() -> None:
    assert topology.draw({}, {}, []).height == 0

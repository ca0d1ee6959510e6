"""What is worth telling: alerts as Prometheus evaluates them, each with a page of docs/runbooks.

Thresholds are group_data's (`monitoring_...`). A series that a fleet does not have raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

Severity = Literal["critical", "warning", "info", "none"]
DAY = 86_400
WATCHDOG = "Watchdog"
PING = 'service="ping"'


@dataclass(frozen=True)
class Alert:
    """One alert.

    Args:
        name: as it is shown; its page is docs/runbooks/NAME.md.
        expr: PromQL; each series of its answer is an alert.
        lasts: for how long it must hold first.
        severity: "critical": now, also at night; "warning": today; "info": when there is time; "none": the
            dead man's, which nobody is told.
        says: one sentence; a template of Prometheus, with `$labels` and `$value`.
        within: a role; without a guest that has it the alert is left out.
    """

    name: str
    expr: str
    lasts: str
    severity: Severity
    says: str
    within: str = ""


@dataclass(frozen=True)
class Limits:
    """The thresholds, from group_data; see the comments there."""

    slow: float
    ping_slow: float
    tailnet_slow: float
    disk_free: int
    disk_days: int
    memory_free: int
    cpu_busy: int
    certificate_days: int
    secret_days: int
    backup_hours: int
    entities_lost: int
    replica_behind: int


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """Every alert there is."""
    return (
        *_reach(limits),
        *_services(),
        *_resources(limits),
        *_endings(limits),
        *_home(limits),
        *_itself(),
    )


def _reach(limits: Limits) -> tuple[Alert, ...]:
    dead = f"probe_success{{{PING}}} == 0"
    return (
        Alert("GuestDown", dead, "2m", "critical", "{{ $labels.guest }} does not answer a ping"),
        Alert(
            "GuestSilent",
            f'up{{job="metrics.node"}} == 0 unless on (guest) {dead}',
            "3m",
            "warning",
            "{{ $labels.guest }} is there, but tells nothing about itself",
        ),
        Alert(
            "PortClosed",
            f'probe_success{{service!="ping",way="lan"}} == 0 unless on (guest) {dead}',
            "2m",
            "critical",
            "{{ $labels.service }} on {{ $labels.guest }} does not answer",
        ),
        Alert(
            "DoorClosed",
            f'probe_success{{way="door"}} == 0 unless on (guest) {dead}',
            "2m",
            "critical",
            "{{ $labels.service }} does not answer at the front door, {{ $labels.guest }}",
        ),
        Alert(
            "TailnetUnreachable",
            f"hearth_tailnet_up == 0 unless on (guest) {dead}",
            "10m",
            "warning",
            "{{ $labels.guest }} is not in the tailnet any more",
        ),
        Alert(
            "TailnetSlow",
            f"avg_over_time(hearth_tailnet_latency_seconds[30m]) > {limits.tailnet_slow}",
            "15m",
            "info",
            "over the tailnet {{ $labels.to }} is {{ $value | humanizeDuration }} away "
            "from {{ $labels.guest }}",
        ),
        Alert(
            "AnswersSlowly",
            f'avg_over_time(probe_duration_seconds{{service!="ping"}}[10m]) > {limits.slow} '
            "and probe_success == 1",
            "10m",
            "warning",
            "{{ $labels.service }} on {{ $labels.guest }} takes {{ $value | humanizeDuration }} to answer",
        ),
        Alert(
            "NetworkSlow",
            f'avg_over_time(probe_icmp_duration_seconds{{phase="rtt"}}[10m]) > {limits.ping_slow} '
            f"unless on (guest) {dead}",
            "10m",
            "warning",
            "a ping to {{ $labels.guest }} takes {{ $value | humanizeDuration }}",
        ),
        Alert(
            "MetricsMissing",
            f'up{{job!="metrics.node"}} == 0 unless on (guest) {dead}',
            "5m",
            "warning",
            "{{ $labels.job }} of {{ $labels.guest }} tells Prometheus nothing",
        ),
    )


def _services() -> tuple[Alert, ...]:
    return (
        Alert(
            "ServiceStopped",
            "hearth_service_up == 0",
            "2m",
            "critical",
            "{{ $labels.unit }} on {{ $labels.guest }} does not run",
        ),
        Alert(
            "ServiceRestarts",
            "increase(hearth_service_restarts_total[30m]) > 3",
            "0m",
            "warning",
            "{{ $labels.unit }} on {{ $labels.guest }} keeps ending and coming back",
        ),
        Alert(
            "UnitFailed",
            "hearth_unit_failed == 1",
            "5m",
            "warning",
            "{{ $labels.unit }} on {{ $labels.guest }} has failed",
        ),
        Alert(
            "ServicesUnwatched",
            'time() - node_textfile_mtime_seconds{file=~".*hearth_services.prom"} > 300',
            "2m",
            "warning",
            "nobody looks at the services of {{ $labels.guest }}",
        ),
        Alert(
            "RestartNeeded",
            "hearth_reboot_required == 1",
            "3d",
            "info",
            "{{ $labels.guest }} waits for a restart",
        ),
    )


def _resources(limits: Limits) -> tuple[Alert, ...]:
    free = "node_filesystem_avail_bytes / node_filesystem_size_bytes"
    writable = "node_filesystem_readonly == 0"
    return (
        Alert(
            "DiskFull",
            f"{free} * 100 < {limits.disk_free} and {writable}",
            "5m",
            "critical",
            "{{ $labels.mountpoint }} of {{ $labels.guest }} has {{ $value | humanize }} % left",
        ),
        Alert(
            "DiskFillsUp",
            f"predict_linear(node_filesystem_avail_bytes[6h], {limits.disk_days * DAY}) < 0 "
            f"and {free} < 0.6 and {writable}",
            "1h",
            "warning",
            "{{ $labels.mountpoint }} of {{ $labels.guest }} will be full "
            f"in {limits.disk_days} days if it goes on like this",
        ),
        Alert(
            "InodesFull",
            "node_filesystem_files_free / node_filesystem_files * 100 < 5 and node_filesystem_files > 0",
            "5m",
            "critical",
            "{{ $labels.mountpoint }} of {{ $labels.guest }} can take hardly any more files",
        ),
        Alert(
            "MemoryShort",
            f"node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < {limits.memory_free}",
            "15m",
            "warning",
            "{{ $labels.guest }} has {{ $value | humanize }} % of its memory left",
        ),
        Alert(
            "CpuBusy",
            'avg by (guest) (1 - rate(node_cpu_seconds_total{mode="idle"}[15m])) * 100 '
            f"> {limits.cpu_busy}",
            "30m",
            "warning",
            "{{ $labels.guest }} is {{ $value | humanize }} % busy",
        ),
        Alert(
            "ClockWrong",
            "abs(node_time_seconds - timestamp(node_time_seconds)) > 5",
            "10m",
            "warning",
            "the clock of {{ $labels.guest }} is {{ $value | humanizeDuration }} away from here",
        ),
        Alert(
            "StorageFull",
            # Every node tells of the whole cluster.
            'max by (id) (pve_disk_usage_bytes{id=~"storage/.*"} / pve_disk_size_bytes) * 100 > 90',
            "10m",
            "critical",
            "{{ $labels.id }} of Proxmox is {{ $value | humanize }} % full",
        ),
        Alert(
            "NodeOffline",
            'max by (id) (pve_up{id=~"node/.*"}) == 0',
            "3m",
            "critical",
            "Proxmox says that {{ $labels.id }} is offline",
        ),
    )


def _endings(limits: Limits) -> tuple[Alert, ...]:
    return (
        Alert(
            "CertificateEnds",
            f"probe_ssl_earliest_cert_expiry - time() < {limits.certificate_days * DAY}",
            "10m",
            "warning",
            "the certificate of {{ $labels.service }} on {{ $labels.guest }} ends "
            "in {{ $value | humanizeDuration }}",
        ),
        Alert(
            "SecretDue",
            f"hearth_secret_due_timestamp_seconds - time() < {limits.secret_days * DAY}",
            "10m",
            "info",
            "{{ $labels.secret }} ({{ $labels.kind }}) is to be replaced",
        ),
        Alert(
            "BackupOld",
            f"time() - hearth_backup_last_success_timestamp_seconds > {limits.backup_hours * 3600}",
            "10m",
            "critical",
            "the last backup of {{ $labels.role }} on {{ $labels.guest }} is "
            "{{ $value | humanizeDuration }} old",
        ),
        Alert(
            "BackupFailed",
            "hearth_backup_failed == 1",
            "0m",
            "warning",
            "a backup of {{ $labels.role }} on {{ $labels.guest }} has failed",
        ),
        Alert(
            "BackupShrunk",
            "hearth_backup_bytes < 0.5 * quantile_over_time(0.5, hearth_backup_bytes[7d])",
            "1h",
            "warning",
            "the backup of {{ $labels.role }} on {{ $labels.guest }} has less than half of its usual size: "
            "{{ $value | humanize1024 }}B",
        ),
        Alert(
            "BackupMissing",
            "absent(hearth_backup_last_success_timestamp_seconds)",
            "26h",
            "critical",
            "no backup has ever been reported",
            within="config_backup",
        ),
    )


def _home(limits: Limits) -> tuple[Alert, ...]:
    entities = "hearth:home_assistant_entities"
    return (
        Alert(
            "EntitiesLost",
            f"{entities} < quantile_over_time(0.5, {entities}[1d]) * {(100 - limits.entities_lost) / 100}",
            "15m",
            "warning",
            "Home Assistant on {{ $labels.guest }} has only {{ $value }} entities left",
        ),
        Alert(
            "ZigbeeDeviceSilent",
            "hearth_zigbee_device_available == 0 unless on () hearth_zigbee_bridge_up == 0",
            "10m",
            "warning",
            "the Zigbee device {{ $labels.device }} has not been heard of for too long",
        ),
        Alert(
            "ZigbeeDown",
            "hearth_zigbee_bridge_up == 0",
            "3m",
            "critical",
            "Zigbee2MQTT is not connected: no Zigbee device works",
        ),
        Alert(
            "BrokerRefuses",
            "hearth_mqtt_up == 0",
            "2m",
            "critical",
            "the MQTT broker on {{ $labels.guest }} takes no login",
        ),
        Alert(
            "BrokersApart",
            "hearth_mqtt_bridge_up == 0 unless on (guest) hearth_mqtt_up == 0",
            "3m",
            "warning",
            "what the first MQTT broker is told does not reach {{ $labels.guest }}",
        ),
        Alert(
            "BrokerDropsMessages",
            "increase(hearth_mqtt_dropped_total[15m]) > 0",
            "0m",
            "warning",
            "the MQTT broker on {{ $labels.guest }} has thrown messages away",
        ),
        Alert(
            "DatabaseRefuses",
            "pg_up == 0",
            "2m",
            "critical",
            "the database on {{ $labels.guest }} takes no login",
        ),
        Alert(
            "ReplicaGone",
            'pg_replication_slots_active{slot_name=~"hearth_.*"} == 0',
            "5m",
            "warning",
            "the replica behind {{ $labels.slot_name }} does not follow {{ $labels.guest }}",
        ),
        Alert(
            "ReplicaBehind",
            'pg_replication_slots_pg_wal_lsn_diff{slot_name=~"hearth_.*"} '
            f"> {limits.replica_behind * 1024 * 1024}",
            "5m",
            "warning",
            "the replica behind {{ $labels.slot_name }} is {{ $value | humanize1024 }}B behind",
        ),
    )


def _itself() -> tuple[Alert, ...]:
    return (
        Alert(WATCHDOG, "vector(1)", "0m", "none", "monitoring lives: who misses this one tells"),
        Alert(
            "AlertsUndelivered",
            "rate(alertmanager_notifications_failed_total[10m]) > 0",
            "10m",
            "critical",
            "alerts do not reach {{ $labels.integration }}: {{ $labels.guest }} cannot deliver them",
        ),
        Alert(
            "RulesFail",
            "increase(prometheus_rule_evaluation_failures_total[15m]) > 0",
            "5m",
            "warning",
            "Prometheus on {{ $labels.guest }} cannot evaluate {{ $labels.rule_group }}",
        ),
        Alert(
            "ConfigurationRefused",
            "prometheus_config_last_reload_successful == 0 "
            "or alertmanager_config_last_reload_successful == 0",
            "5m",
            "warning",
            "{{ $labels.job }} of {{ $labels.guest }} runs with an older configuration than it was given",
        ),
    )


RECORDED = {"hearth:home_assistant_entities": "count by (guest) (homeassistant_entity_available)"}


def rules_text(found: Sequence[Alert], present: frozenset[str], page: str) -> str:
    """The rule file.

    Args:
        found: the alerts.
        present: the roles that some guest of the fleet has.
        page: where an alert's page is, with `{name}` in it.
    """
    recorded: list[Mapping[str, Any]] = [{"record": name, "expr": expr} for name, expr in RECORDED.items()]
    kept = [alert for alert in found if not alert.within or alert.within in present]
    groups = [
        {"name": "hearth-recorded", "rules": recorded},
        {"name": "hearth", "rules": [_rule(alert, page) for alert in kept]},
    ]
    return "# Written by Hearth.\n" + yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def _rule(alert: Alert, page: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.says, "runbook_url": page.format(name=alert.name)},
    }

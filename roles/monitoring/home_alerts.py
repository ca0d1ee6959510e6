"""What is wrong with the home: things that end, backups, devices and data; and with monitoring itself."""

from __future__ import annotations

from .alert import DAY, WATCHDOG, Alert, Limits


def about_home(limits: Limits) -> tuple[Alert, ...]:
    """Every alert about what the home has and does."""
    return (*_endings(limits), *_home(limits), *_itself())


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
            f"time() - hearth_backup_state_timestamp_seconds > {limits.backup_hours * 3600}",
            "10m",
            "critical",
            "the last backup of {{ $labels.role }} on {{ $labels.guest }} is "
            "{{ $value | humanizeDuration }} old",
        ),
        Alert(
            "BackupFailed",
            "hearth_backup_guest_ok == 0 or hearth_backup_ok == 0",
            "0m",
            "warning",
            "a backup of {{ $labels.guest }}, or one that it makes, has failed",
        ),
        Alert(
            "BackupShrunk",
            "hearth_backup_state_bytes < 0.5 * quantile_over_time(0.5, hearth_backup_state_bytes[7d])",
            "1h",
            "warning",
            "the backup of {{ $labels.role }} on {{ $labels.guest }} has less than half of its usual size: "
            "{{ $value | humanize1024 }}B",
        ),
        Alert(
            "BackupMissing",
            "absent(hearth_backup_state_timestamp_seconds)",
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

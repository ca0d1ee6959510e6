"""For every alert: a cause, and when it must be silent, fire and be silent again."""

from __future__ import annotations

from dataclasses import dataclass

NODE = 'job="metrics.node",guest="comms",role="metrics",instance="comms:9100"'
PING = 'job="probe.ping",guest="comms",service="ping",way="lan"'
PORT = 'job="probe.tls",guest="comms",service="mosquitto.mqtts",way="lan",instance="comms:8883"'
DISK = 'guest="comms",mountpoint="/",device="/dev/sda1",fstype="ext4"'
DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class Case:
    """A cause of an alert.

    Args:
        alert: its name.
        series: series -> its values, one a minute, as promtool writes them.
        quiet, fires, clears: minutes; None: that moment is not asked for.
        also: other alerts that the same cause raises.
    """

    alert: str
    series: dict[str, str]
    quiet: int | None
    fires: int | None
    clears: int | None
    also: tuple[str, ...] = ()


def dips(healthy: str, broken: str) -> str:
    """Well for ten minutes, broken for forty, well for an hour."""
    return f"{healthy}x10 {broken}x39 {healthy}x60"


def gauge(series: str, broken: str, healthy: str) -> dict[str, str]:
    """One series that dips."""
    return {series: dips(healthy, broken)}


UP = "1+0"
DOWN = "0+0"

CASES = (
    Case("GuestDown", {f"probe_success{{{PING}}}": dips(UP, DOWN)}, 9, 20, 60),
    Case(
        "GuestSilent",
        {f"probe_success{{{PING}}}": "1+0x100", f"up{{{NODE}}}": dips(UP, DOWN)},
        9,
        20,
        60,
    ),
    Case(
        "PortClosed",
        {f"probe_success{{{PING}}}": "1+0x100", f"probe_success{{{PORT}}}": dips(UP, DOWN)},
        9,
        20,
        60,
    ),
    Case(
        "DoorClosed",
        {f"probe_success{{{PORT}}}".replace('way="lan"', 'way="door"'): dips(UP, DOWN)},
        9,
        20,
        60,
    ),
    Case("TailnetUnreachable", gauge('hearth_tailnet_up{guest="comms"}', DOWN, UP), 9, 30, 60),
    Case(
        "TailnetSlow",
        {'hearth_tailnet_latency_seconds{guest="comms",to="relay 999"}': "0.02+0x10 3+0x60 0.02+0x100"},
        9,
        60,
        150,
    ),
    Case(
        "AnswersSlowly",
        {
            f"probe_success{{{PORT}}}": "1+0x110",
            f"probe_duration_seconds{{{PORT}}}": dips("0.2+0", "4+0"),
        },
        9,
        40,
        90,
    ),
    Case(
        "NetworkSlow",
        {
            f"probe_success{{{PING}}}": "1+0x110",
            f'probe_icmp_duration_seconds{{{PING},phase="rtt"}}': dips("0.001+0", "0.4+0"),
        },
        9,
        40,
        90,
    ),
    Case(
        "MetricsMissing",
        {'up{job="home_assistant.web",guest="home-assistant",instance="x"}': dips(UP, DOWN)},
        9,
        20,
        60,
    ),
    Case(
        "ServiceStopped",
        gauge('hearth_service_up{guest="comms",unit="mosquitto.service"}', DOWN, UP),
        9,
        20,
        60,
    ),
    Case(
        "ServiceRestarts",
        {'hearth_service_restarts_total{guest="comms",unit="mosquitto.service"}': "0+0x10 1+1x20 21+0x60"},
        9,
        20,
        80,
    ),
    Case(
        "UnitFailed",
        {'hearth_unit_failed{guest="comms",unit="x.service"}': "_x10 1+0x29 stale _x60"},
        9,
        20,
        60,
    ),
    Case(
        "ServicesUnwatched",
        {
            'node_textfile_mtime_seconds{guest="comms",'
            'file="/var/lib/prometheus/node-exporter/hearth_services.prom"}': "0+60x10 600+0x29 2400+60x60"
        },
        9,
        30,
        60,
    ),
    Case(
        "RestartNeeded",
        {'hearth_reboot_required{guest="comms"}': f"0+0x10 1+0x{4 * DAY} 0+0x20"},
        2 * DAY,
        4 * DAY,
        4 * DAY + 20,
    ),
    Case(
        "DiskFull",
        {
            f"node_filesystem_avail_bytes{{{DISK}}}": dips("50+0", "5+0"),
            f"node_filesystem_size_bytes{{{DISK}}}": "100+0x120",
            f"node_filesystem_readonly{{{DISK}}}": "0+0x120",
        },
        9,
        20,
        60,
    ),
    Case(
        "DiskFillsUp",
        {
            # 1000 GB, 500 free and steady; then 0.1 GB a minute less, which is all of it within four days.
            f"node_filesystem_avail_bytes{{{DISK}}}": "500+0x600 500-0.1x600 440+0x1000",
            f"node_filesystem_size_bytes{{{DISK}}}": "1000+0x2300",
            f"node_filesystem_readonly{{{DISK}}}": "0+0x2300",
        },
        590,
        1150,
        1900,
    ),
    Case(
        "InodesFull",
        {
            f"node_filesystem_files_free{{{DISK}}}": dips("50+0", "2+0"),
            f"node_filesystem_files{{{DISK}}}": "100+0x120",
        },
        9,
        20,
        60,
    ),
    Case(
        "MemoryShort",
        {
            'node_memory_MemAvailable_bytes{guest="comms"}': dips("50+0", "5+0"),
            'node_memory_MemTotal_bytes{guest="comms"}': "100+0x120",
        },
        9,
        40,
        60,
    ),
    Case(
        "CpuBusy",
        {'node_cpu_seconds_total{guest="comms",cpu="0",mode="idle"}': "0+50x60 3000+1x120 3120+55x120"},
        59,
        140,
        220,
    ),
    Case(
        "ClockWrong",
        {'node_time_seconds{guest="comms"}': "0+60x10 720+60x39 3060+60x60"},
        9,
        30,
        60,
    ),
    Case(
        "StorageFull",
        {
            'pve_disk_usage_bytes{id="storage/pve/local"}': dips("50+0", "95+0"),
            'pve_disk_size_bytes{id="storage/pve/local"}': "100+0x120",
        },
        9,
        30,
        60,
    ),
    Case("NodeOffline", gauge('pve_up{id="node/pve"}', DOWN, UP), 9, 20, 60),
    Case(
        "CertificateEnds",
        {f"probe_ssl_earliest_cert_expiry{{{PORT}}}": dips("90000000+0", "1000000+0")},
        9,
        30,
        60,
    ),
    Case(
        "SecretDue",
        {
            'hearth_secret_due_timestamp_seconds{secret="mqtt/x",kind="MQTT password"}': dips(
                "9000000+0", "500000+0"
            )
        },
        9,
        30,
        60,
    ),
    Case(
        "BackupOld",
        {
            'hearth_backup_state_timestamp_seconds{guest="comms",role="mosquitto"}': (
                f"0+0x{30 * 60} 108000+0x120"
            )
        },
        24 * 60,
        29 * 60,
        30 * 60 + 30,
    ),
    Case("BackupFailed", gauge('hearth_backup_guest_ok{guest="comms",job="node"}', DOWN, UP), 9, 20, 60),
    Case(
        "BackupShrunk",
        {'hearth_backup_state_bytes{guest="comms",role="mosquitto"}': "1000+0x600 100+0x200 1000+0x200"},
        590,
        700,
        900,
    ),
    Case(
        "BackupMissing",
        {
            'hearth_backup_state_timestamp_seconds{guest="comms",role="mosquitto"}': (
                f"_x{28 * 60} {28 * 3600}+0x60"
            )
        },
        25 * 60,
        27 * 60,
        28 * 60 + 10,
    ),
    Case(
        "EntitiesLost",
        {
            'homeassistant_entity_available{guest="home-assistant",entity="a"}': "1+0x1000",
            **{
                f'homeassistant_entity_available{{guest="home-assistant",entity="{name}"}}': (
                    "1+0x599 stale _x99 1+0x300"
                )
                for name in "bcd"
            },
        },
        590,
        650,
        800,
    ),
    Case(
        "ZigbeeDeviceSilent",
        {
            'hearth_zigbee_device_available{guest="monitoring",device="lamp"}': dips(UP, DOWN),
            'hearth_zigbee_bridge_up{guest="monitoring"}': "1+0x110",
        },
        9,
        30,
        60,
    ),
    Case("ZigbeeDown", gauge('hearth_zigbee_bridge_up{guest="monitoring"}', DOWN, UP), 9, 20, 60),
    Case("BrokerRefuses", gauge('hearth_mqtt_up{guest="comms"}', DOWN, UP), 9, 20, 60),
    Case(
        "BrokersApart",
        {
            'hearth_mqtt_bridge_up{guest="mqtt-standby"}': dips(UP, DOWN),
            'hearth_mqtt_up{guest="mqtt-standby"}': "1+0x110",
        },
        9,
        20,
        60,
    ),
    Case(
        "BrokerDropsMessages",
        {'hearth_mqtt_dropped_total{guest="comms"}': "0+0x10 1+1x10 11+0x60"},
        9,
        15,
        60,
    ),
    Case("DatabaseRefuses", gauge('pg_up{guest="database"}', DOWN, UP), 9, 20, 60),
    Case(
        "ReplicaGone",
        gauge('pg_replication_slots_active{guest="database",slot_name="hearth_data"}', DOWN, UP),
        9,
        20,
        60,
    ),
    Case(
        "ReplicaBehind",
        gauge(
            'pg_replication_slots_pg_wal_lsn_diff{guest="database",slot_name="hearth_data"}',
            "100000000+0",
            "16+0",
        ),
        9,
        20,
        60,
    ),
    Case("Watchdog", {'up{job="x"}': "1+0x10"}, None, 5, None),
    Case(
        "AlertsUndelivered",
        {
            'alertmanager_notifications_failed_total{guest="monitoring",integration="webhook"}': (
                "0+0x10 1+1x30 31+0x60"
            )
        },
        9,
        30,
        80,
    ),
    Case(
        "RulesFail",
        {
            'prometheus_rule_evaluation_failures_total{guest="monitoring",rule_group="g"}': (
                "0+0x10 1+1x20 21+0x60"
            )
        },
        9,
        25,
        70,
    ),
    Case(
        "ConfigurationRefused",
        gauge('prometheus_config_last_reload_successful{guest="monitoring",job="x"}', DOWN, UP),
        9,
        20,
        60,
    ),
)

# What must not raise an alert of its own while something larger explains it: series, the alert that is
# silent.
EXPLAINED = (
    ({f"probe_success{{{PING}}}": "0+0x60", f"probe_success{{{PORT}}}": "0+0x60"}, "PortClosed"),
    ({f"probe_success{{{PING}}}": "0+0x60", f"up{{{NODE}}}": "0+0x60"}, "GuestSilent"),
    (
        {
            'hearth_zigbee_device_available{guest="monitoring",device="lamp"}': "0+0x60",
            'hearth_zigbee_bridge_up{guest="monitoring"}': "0+0x60",
        },
        "ZigbeeDeviceSilent",
    ),
    (
        {'hearth_mqtt_bridge_up{guest="x"}': "0+0x60", 'hearth_mqtt_up{guest="x"}': "0+0x60"},
        "BrokersApart",
    ),
    # A read-only file system is full and stays so: an image.
    (
        {
            f"node_filesystem_avail_bytes{{{DISK}}}": "0+0x60",
            f"node_filesystem_size_bytes{{{DISK}}}": "100+0x60",
            f"node_filesystem_readonly{{{DISK}}}": "1+0x60",
        },
        "DiskFull",
    ),
)

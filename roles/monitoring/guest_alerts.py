"""What is wrong with guests: out of reach, services that do not run, too little of something."""

from __future__ import annotations

from .alert import DAY, PING, Alert, Limits


def about_guests(limits: Limits) -> tuple[Alert, ...]:
    """Every alert about guests and nodes."""
    return (*_reach(limits), *_services(), *_resources(limits))


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

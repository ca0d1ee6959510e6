"""What an admin may tune about monitoring (docs/monitoring.md); who is told: group_data/alerts.py."""

# How long measurements are kept, and how much disk they may take; whichever comes first.
monitoring_keep = "90d"
monitoring_size = "8GB"

# Seconds between two measurements, and between two probes of a port.
monitoring_interval = 15
monitoring_probe_interval = 30

# Prometheus, and each of the programs that ask for it, is restarted when it takes more memory than this.
monitoring_memory = "1G"
monitoring_exporter_memory = "192M"

# Further web addresses to be probed, by name: {"router": "http://192.168.1.1/"}. 200 is expected.
monitoring_probes: dict[str, str] = {}

# ---- From when on somebody is told. "Seconds": averages over ten minutes.

# Seconds that a service may take to answer; seconds for a ping inside the home; seconds to a relay or a peer
# over the tailnet.
monitoring_slow = 2.0
monitoring_ping_slow = 0.05
monitoring_tailnet_slow = 0.5

# Percent of a disk that must be free; and days within which a disk that fills as it did in the last six hours
# would be full.
monitoring_disk_free = 10
monitoring_disk_days = 4

# Percent of its memory that a guest must have left; percent of its cores that it may use for half an hour.
monitoring_memory_free = 8
monitoring_cpu_busy = 90

# Days that a certificate must hold (a deploy renews it below 30), and days before a secret is due
# (`hearth secrets status`).
monitoring_certificate_days = 21
monitoring_secret_days = 7

# Hours that the newest backup may be old.
monitoring_backup_hours = 26

# Percent of Home Assistant's entities that may be gone in comparison with the day before.
monitoring_entities_lost = 10

# MiB by which the replica of the database may be behind.
monitoring_replica_behind = 64

"""What an admin may tune about the metrics of every guest; see docs/monitoring.md."""

# The node exporter is restarted when it takes more memory than this (systemd.resource-control(5)).
metrics_memory = "96M"

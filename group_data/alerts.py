"""What an admin may tune about who is told of what is wrong; see docs/monitoring.md."""

# Whom to tell besides ntfy: a name, and the secret that holds Apprise's URL for it (they hold passwords:
# `hearth secrets set alerts/mail`), e.g. {"mail": "alerts/mail"}. All URLs: github.com/caronc/apprise/wiki
alerts_targets: dict[str, str] = {}

# Seconds to wait for more of the same kind before the first message, and before the next one about the same.
alerts_group_wait = 30
alerts_group_interval = 300

# Hours after which something that is still wrong is said again.
alerts_repeat_hours = 12

# Seconds between two signs of life for the dead man.
alerts_heartbeat = 60

# Hours for which Alertmanager remembers silences and what it has said.
alerts_keep_hours = 168

# They are restarted when they take more memory than this (systemd.resource-control(5)).
alerts_memory = "256M"
alerts_relay_memory = "128M"

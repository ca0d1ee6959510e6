"""What an admin may tune about the dead man, who says when monitoring is dead; see docs/monitoring.md."""

# Seconds without a sign of life after which he tells, seconds between two looks, and hours after which he
# tells once more.
dead_man_after = 300
dead_man_every = 30
dead_man_again_hours = 6

# He is restarted when he takes more memory than this (systemd.resource-control(5)).
dead_man_memory = "128M"

"""What an admin may tune about the central journal; see docs/monitoring.md."""

# How much disk the journals of all guests may take together ("800M", "4G"), and how long they are kept
# (systemd.time(7)). Whichever comes first, the oldest goes.
central_journal_size = "4G"
central_journal_keep = "3months"

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
central_journal_memory = "512M"

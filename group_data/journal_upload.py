"""What an admin may tune about sending a guest's journal to the central one."""

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
journal_upload_memory = "96M"

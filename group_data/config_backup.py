"""What an admin may tune about the backup of all guests' states; see docs/backup.md."""

# When it runs, every day: systemd.time(7), e.g. "03:10"; and by how many seconds at most it is put off, by
# chance, so that not all jobs begin at once. What was missed while the guest was off is made up for.
config_backup_at = "03:10"
config_backup_random_delay = 600

# How many snapshots the repository on the guest keeps: of the newest days, weeks, months.
config_backup_retention = {"daily": 7, "weekly": 5, "monthly": 6}

# Minutes that one guest may take, and how many guests are read at a time.
config_backup_minutes = 60
config_backup_at_once = 2

# It is ended when it takes more memory than this (systemd.resource-control(5)).
config_backup_memory = "700M"

"""What an admin may tune about the copy of the backups elsewhere; see docs/backup.md."""

# Where the copy goes, as restic has it: "s3:https://s3.example.org/BUCKET/home", "sftp:user@host:/path",
# "rest:https://host:8000/home", "rclone:REMOTE:path", "b2:BUCKET:home" (restic.readthedocs.io, "Preparing a
# new repository"). {NAME} stands for a secret: "rest:https://home:{restic/rest-password}@host:8000/home".
# None: no backup leaves the home.
cloud_data_sync_repository: str | None = None

# What the place needs to know: variables of restic's backends. Those of `secrets` are secrets of the fleet by
# their names: {"AWS_ACCESS_KEY_ID": "restic/s3-id", "AWS_SECRET_ACCESS_KEY": "restic/s3-key"}
# (`hearth secrets set restic/s3-key`).
cloud_data_sync_environment: dict[str, str] = {}
cloud_data_sync_secrets: dict[str, str] = {}

# For sftp: the secret with the private key, and the server's line of known_hosts:
# {"key": "restic/sftp-key", "known_hosts": "nas.example.org ssh-ed25519 AAAA..."}
cloud_data_sync_sftp: dict[str, str] = {}

# For rclone: the secret that holds rclone.conf.
cloud_data_sync_rclone: str | None = None

# KiB a second at most, there and back; 0: as fast as it goes.
cloud_data_sync_limit_upload = 0
cloud_data_sync_limit_download = 0

# When the copy is made (after the local backup) and when it is checked: systemd.time(7), put off by chance by
# these seconds at most. What was missed is made up for.
cloud_data_sync_copy_at = "04:10"
cloud_data_sync_check_at = "Sun 05:10"
cloud_data_sync_random_delay = 1800

# How much of the stored data each weekly check reads, in percent; all of it, unread for long, may be damaged.
cloud_data_sync_check_percent = 10

# How many snapshots the copy keeps: of the newest days, weeks, months.
cloud_data_sync_retention = {"daily": 7, "weekly": 5, "monthly": 12}

# Hours that a copy or a check may take, and the memory at most (systemd.resource-control(5)).
cloud_data_sync_hours = 12
cloud_data_sync_memory = "700M"

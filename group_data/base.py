"""What an admin may tune about every guest. The admin, time zone and locale stand in the fleet file."""

# Debian packages to have on every guest besides what the roles use, e.g. ["htop", "vim"].
base_extra_packages: list[str] = []

# True: only Hearth's key and the admin's keys may log in as root; any other line of root's authorized_keys is
# removed. False: other lines stay. Turn it on once nothing else (a backup job, an old laptop) logs in as
# root.
base_only_our_root_keys = False

# May SSH sessions forward TCP ports (`ssh -L`)?
base_ssh_forwarding = False

# Seconds after which a guest takes back new SSH settings that were not proven by a new login.
base_ssh_rollback_after = 60

# Time servers of VMs; empty: Debian's pool. Containers have the node's clock.
base_ntp_servers: list[str] = []

# May a guest restart itself at night when an update asks for it, and when (HH:MM)?
base_upgrade_reboot = False
base_upgrade_reboot_time = "03:30"

# Packages that unattended upgrades leave alone: regular expressions, e.g. ["mosquitto"].
base_upgrade_never: list[str] = []

# How much disk a guest's journal may take, and how long it is kept (journald.conf(5)).
base_journal_size = "200M"
base_journal_keep = "1month"

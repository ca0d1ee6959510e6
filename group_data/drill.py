"""What an admin may tune about `hearth drill`; see docs/drill.md."""

# A folder of this machine with Proxmox's own backups (`vzdump-lxc-135-....tar.zst`), where it can be read: a
# share of the NAS that the jobs write to, "/mnt/backups/dump". Containers are then made from the newest ones.
# None: every guest is made new, and gets its state from the copy elsewhere.
drill_archives: str | None = None

# The name of the twin that a drill makes and takes away: small letters, digits and dashes, 20 at most.
drill_twin = "drill"

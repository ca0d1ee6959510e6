"""What an admin may tune about the database. Databases and users come from the roles that need one."""

# The major version, the same on all of the database's guests: Debian 12 brings 15, Debian 13 brings 17.
postgresql_version = 15

# The guest whose database takes writes; None: the first of the fleet file with the role. Change it after a
# promotion (docs/services/postgresql.md), never instead of one.
postgresql_primary: str | None = None

# For one run only: `--data postgresql_reclone=GUEST`. What GUEST's database holds is thrown away, and the
# primary's data taken anew.
postgresql_reclone = ""

# How much of the guest's memory the database may use, in percent: 75 for a guest of its own, less beside
# others.
postgresql_memory_share = 60

# Connections at once.
postgresql_max_connections = 50

# How much the primary keeps for a replica that is away, in MiB. One that stays away for longer has to take
# the data anew; without a limit it would fill the primary's disk.
postgresql_slot_keep = 2048

# Statements that take longer than this many milliseconds are written to the journal.
postgresql_log_slow = 1000

# Any other setting of PostgreSQL, as in postgresql.conf: {"random_page_cost": 1.1}. These win.
postgresql_settings: dict[str, str | int | float | bool] = {}

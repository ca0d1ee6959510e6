"""`hearth drill`: the home restored into the twin from its real backups, and how it went."""

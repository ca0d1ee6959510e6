"""Which pinned versions have been overtaken."""

"""Who may reach which port of which guest: one table, from which every wall is built."""

"""What an admin may tune about the guests' own walls. Who may reach what: firewall_* in all.py."""

# Does every guest have a wall of its own? False: the one that Hearth has put there is taken away.
wall_enabled = True

# Seconds after which a guest takes back new rules that were not proven by a new login.
wall_rollback_after = 60

# How loudly a guest logs what it refuses (the words of firewall_log_level; "nolog": not at all), and how many
# lines a minute at most. The kernel logs for containers only where the node has
# net.netfilter.nf_log_all_netns=1.
wall_log_level = "nolog"
wall_log_rate = 10

"""`hearth drift`: what else than Hearth's own things it speaks of."""

# Guests on the nodes that are not in the fleet file: "report" (named, no drift by themselves), "drift" (one
# that appears makes `hearth drift` exit with 2), or "ignore".
drift_unmanaged_guests = "report"

# Such guests that you know of and want to hear nothing about: VMIDs, or names. E.g. [200, "test-vm"]
drift_known_guests: list[int | str] = []

# Rules, sets and addresses in Proxmox's firewall that are not Hearth's: "report", "drift" or "ignore".
drift_foreign_firewall = "report"

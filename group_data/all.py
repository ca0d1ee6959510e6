"""Values for every guest.

Each role's own values stand in the file of its name. A guest's own value goes into the fleet's inventory, and
wins.
"""

"""What brings alerts to people: from Alertmanager to ntfy and whatever Apprise knows; and the dead man.

It runs with Debian 12's Python and its package apprise, and imports nothing else.
"""

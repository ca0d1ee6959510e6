"""Backups: what guests keep, where it is kept, and how it comes back."""

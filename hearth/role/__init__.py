"""Roles: what they declare, and what follows from it."""

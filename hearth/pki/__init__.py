"""Certificates of our own."""

from hearth.pki.authority import Authority, Leaf

__all__ = ["Authority", "Leaf"]

"""The `hearth` command."""

from hearth.cli.main import main

__all__ = ["main"]

"""pyinfra's settings: read before anything else of a run, so what must be true of every run is set here."""

from pathlib import Path

from hearth.commandline import prepare

# pyinfra executes this file without a real __file__ of its own folder's: it always stands in the current one.
prepare(Path.cwd())

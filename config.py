"""pyinfra's settings: read before anything else of a run, so what must be true of every run is set here."""

from pathlib import Path

from pyinfra import config

from hearth.commandline import prepare

# Facts read what programs print: numbers with a point and English words, whatever the guest's locale.
config.ENV = {"LC_ALL": "C.UTF-8"}

# pyinfra executes this file without a real __file__ of its own folder's: it always stands in the current one.
prepare(Path.cwd())

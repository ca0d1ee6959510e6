"""A home's automations: what triggers them, what they do, and what became of each run."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hearth-ai-automation")
except PackageNotFoundError:  # run from its folder, not installed
    __version__ = "0+source"

"""Keeps radio and devices in a file, so that a restart of the program is not a new radio."""

from __future__ import annotations

import json
from pathlib import Path

from twin.devices.zigbee.radio import Radio
from twin.state import write_atomically


class Store:
    """The file.

    Args:
        path: a JSON file, readable by its owner only (the network's key is in it); may be absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def load(self, radio: Radio) -> None:
        """Switch the radio on with what is in the file."""
        if self._path.exists():
            radio.load(json.loads(self._path.read_text()))

    def save(self, radio: Radio) -> None:
        """Write what changed since the last time."""
        text = json.dumps(radio.dump(), sort_keys=True)
        if text != self._written:
            write_atomically(self._path, text.encode())
            self._written = text

"""What a twin does in another way than production: twin/standins.yaml, and what only this twin knows."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from twin import programs
from twin.home import Home
from twin.registry import start as registry
from twin.state import Twin

COMMON = Path(__file__).parent / "standins.yaml"
NTFY = Path(__file__).parent / "ntfy_stand_in.py"  # its Go module is not to be had


def written(twin: Twin, home: Home) -> Path:
    """The file that HEARTH_OVERRIDES names in a twin."""
    own = {**_images(twin, home), **programs.sources(twin, home), "ntfy_source": {"path": str(NTFY)}}
    path = twin.dir / "standins.yaml"
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(
        f"{COMMON.read_text()}\n# From the twin's own servers, in place of the vendors'.\n"
        f"{yaml.safe_dump(own, width=200)}"
    )
    return new.replace(path)


def _images(twin: Twin, home: Home) -> dict[str, object]:
    if "images_of" not in twin.load():
        return {}
    return {"vaultwarden_image": registry.reference(twin, home, "1"), "vaultwarden_image_insecure": True}

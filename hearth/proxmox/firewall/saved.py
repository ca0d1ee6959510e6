"""The old rules, on this machine's disk, for as long as new ones are not proven."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.proxmox.firewall.model import Wall


@dataclass(frozen=True)
class Saved:
    """What stood before.

    Args:
        wall: Hearth's part of it.
        enable: whether the firewall was on.
        armed: whether the dead-man switch was set since.
    """

    wall: Wall
    enable: bool
    armed: bool = False


class Memory:
    """The file of the saved rules.

    Args:
        path: the file; its folder is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Saved | None:
        """What a run that did not end has saved; None where the last one did.

        Raises:
            HearthError: the file cannot be read.
        """
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return Saved(Wall.from_json(found["wall"]), bool(found["enable"]), bool(found["armed"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "look at Proxmox's firewall, then remove the file"
            raise HearthError(f"read the saved firewall rules {self.path}", str(error), remedy) from error

    def save(self, saved: Saved) -> None:
        """Keep it, durably: what follows may cut this machine off."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {"wall": saved.wall.to_json(), "enable": saved.enable, "armed": saved.armed}
        write_durably(self.path, json.dumps(content, indent=1).encode())

    def arm(self, saved: Saved) -> Saved:
        """Note that the switch is about to be set."""
        armed = replace(saved, armed=True)
        self.save(armed)
        return armed

    def forget(self) -> None:
        """The new rules are proven, or the old ones are back."""
        with suppress(FileNotFoundError):
            self.path.unlink()

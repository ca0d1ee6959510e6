"""/etc/pve as pmxcfs shows it on the node: a file for each guest.

What runs on the node reads them: Hearth's wrapper looks for its tag there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path("/etc/pve")


class ClusterFiles:
    """Keeps the files of a folder what the guests are.

    Args:
        root: /etc/pve, in the node's own mounts.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._written: dict[Path, str] = {}

    def write(self, guests: Iterable[Any]) -> None:
        """Write what changed, remove what is gone."""
        now = {self._place(guest): text_of(guest) for guest in guests}
        for path in self._written.keys() - now.keys():
            path.unlink(missing_ok=True)
        for path, text in now.items():
            if self._written.get(path) != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self._written = now

    def _place(self, guest: Any) -> Path:
        folder = "lxc" if str(guest.guest).startswith("lxc/") else "qemu-server"
        return self.root / folder / f"{guest.vmid}.conf"


def text_of(guest: Any) -> str:
    """A guest's configuration file: what holds, then what is pending, then its snapshots."""
    parts = [_section(guest.config)]
    if guest.pending:
        pending = {key: value for key, value in guest.pending.items() if value is not None}
        deletes = ",".join(sorted(key for key, value in guest.pending.items() if value is None))
        parts.append("\n[PENDING]\n" + _section({**pending, **({"delete": deletes} if deletes else {})}))
    parts += [f"\n[{name}]\n{_section(config)}" for name, config in sorted(guest.snapshots.items())]
    return "".join(parts)


def _section(config: dict[str, Any]) -> str:
    description = [f"#{line}" for line in str(config.get("description") or "").splitlines()]
    lines = [f"{key}: {value}" for key, value in sorted(config.items()) if key != "description"]
    return "\n".join([*description, *lines]) + "\n"

"""The one setting of the machine that the twin has to change, and that it restores when the last twin goes.

`fs.inotify.max_user_instances` (128 by default) is shared by all privileged guests: past about eleven,
systemd dies quietly.
"""

from __future__ import annotations

from pathlib import Path

from twin.state import Twin, others, read_json, write_json

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED = 1024


def raise_limits(twin: Twin) -> None:
    """Raise the limit, remembering what it was before the first twin."""
    before = int(INSTANCES.read_text())
    if before >= NEEDED:
        return
    write_json(_file(twin), {"max_user_instances": before})
    INSTANCES.write_text(str(NEEDED))


def restore(twin: Twin) -> None:
    """Set the limit back, unless another twin still needs it."""
    before = read_json(_file(twin)).get("max_user_instances")
    if before is None or others(twin):
        return
    INSTANCES.write_text(str(before))
    _file(twin).unlink()


def _file(twin: Twin) -> Path:
    return twin.home / "sysctls.json"

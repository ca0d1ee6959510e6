"""The settings of the machine that the twin has to change, and that it restores when the last twin goes.

- `fs.inotify.max_user_instances` (128 by default) is shared by all privileged guests: past about eleven,
  systemd dies quietly.
- `kernel.keys.maxkeys` and `maxbytes` (200 keys, keyrings(7)) are shared by all unprivileged guests, whose
  root is one user to the machine: past a handful of them, units fail at step KEYRING.
"""

from __future__ import annotations

from pathlib import Path

from twin.state import Twin, others, read_json, write_json

SYSTEM = Path("/proc/sys")
NEEDED = {
    "fs/inotify/max_user_instances": 1024,
    "kernel/keys/maxkeys": 5000,
    "kernel/keys/maxbytes": 500_000,
}


def raise_limits(twin: Twin) -> None:
    """Raise the limits, remembering what they were before the first twin."""
    before = {name: int((SYSTEM / name).read_text()) for name in NEEDED}
    low = {name: value for name, value in before.items() if value < NEEDED[name]}
    if not low:
        return
    write_json(_file(twin), {**low, **read_json(_file(twin))})
    for name in low:
        (SYSTEM / name).write_text(str(NEEDED[name]))


def restore(twin: Twin) -> None:
    """Set the limits back, unless another twin still needs them."""
    before = read_json(_file(twin))
    if not before or others(twin):
        return
    for name, value in before.items():
        (SYSTEM / name).write_text(str(value))
    _file(twin).unlink()


def _file(twin: Twin) -> Path:
    return twin.home / "sysctls.json"

"""`python -m twin` for tests of the drill: writes down what it is told, and does what DRILL_TEST says.

Copied to a project of a test's own as twin/__main__.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

PLAN = json.loads(os.environ["DRILL_TEST"])
KEPT = ("HEARTH_FLEET", "HEARTH_SECRETS", "HEARTH_STATE_DIR", "HEARTH_OVERRIDES", "PROXMOX_VE_API_TOKEN")


def main() -> None:
    name, verb, rest = sys.argv[2], sys.argv[3], sys.argv[4:]
    settings = dict(word.split("=", 1) for word in rest if "=" in word and word.isupper() is False)
    row = {
        "name": name,
        "verb": verb,
        "rest": rest,
        "env": {key: value for key, value in os.environ.items() if key in KEPT},
    }
    with Path(PLAN["log"]).open("a") as out:
        out.write(json.dumps(row) + "\n")
    if verb == PLAN.get("fails"):
        print("something is broken", file=sys.stderr)
        sys.exit(1)
    if verb == "exec" and "node-key" in rest[-1]:
        print("ssh-ed25519 AAAA hearth")
    elif verb == "exec":
        restore(settings, rest[-1])


def restore(settings: dict[str, str], script: str) -> None:
    """As restore.py in a twin: reads the repository that it was told of, and leaves its record."""
    state = Path(settings["HEARTH_STATE_DIR"])
    values = Path(script.partition('HEARTH_OVERRIDES="')[2].partition('"')[0].rpartition(":")[2])
    row = {
        "values": values.read_text(),
        "fleet": Path(settings["HEARTH_FLEET"]).read_text(),
        "snapshots": sorted(path.name for path in (state.parent / "repository" / "snapshots").iterdir()),
    }
    Path(PLAN["seen"]).write_text(json.dumps(row))
    if PLAN.get("hangs"):
        signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
        Path(PLAN["seen"]).with_suffix(".ready").touch()
        time.sleep(60)
    if PLAN.get("record"):
        (state / "restore.json").write_text(json.dumps(PLAN["record"]))
    if PLAN.get("restore_fails"):
        print("comms: cannot restore mosquitto on comms: the disk is full", file=sys.stderr)
        sys.exit(1)


main()

"""Units that run, read their files as they are now, and stay up."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from datetime import datetime

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops.facts import Unit, UnitNames, UnitState
from hearth.ops.files import File, differing
from hearth.ops.noted import Lack, note

FOLDER = "/etc/systemd/system"
WITHIN = 30  # seconds until a unit must be up and have stayed up


@operation()
def service(
    unit: str,
    restart_on: Sequence[File] = (),
    reload_on: Sequence[File] = (),
    ports: Sequence[int] = (),
    stays: float = 2.0,
) -> Generator[PyinfraCommand, None, None]:
    """
    A unit that is enabled, running, and has read its files.

    + unit: full name, with its suffix
    + restart_on: files after whose change it must be restarted
    + reload_on: files after whose change a reload is enough
    + ports: TCP ports that must be listening afterwards
    + stays: seconds for which it must run without a new main process

    Whether it has read a file is asked of the guest: the file's change time against the unit's last start or
    reload. So a run that was interrupted between the two is mended by the next one. pyinfra's own operation
    reports success for a unit that crashes in a loop; this one watches it and shows its status and log when
    it fails. A unit whose own conditions do not hold (systemd-timesyncd in a container) is left alone.

    **Example:**

    .. code:: python

        systemd.service(
            name="Run Mosquitto", unit="mosquitto.service", restart_on=[config], reload_on=[acl], ports=[8883]
        )
    """
    watched = [*restart_on, *reload_on]
    now = host.get_fact(Unit, unit=unit, paths=[file.path for file in watched])
    # Files that still differ are being planned: at execution they are in place before this is asked.
    planned = {file.path for file in differing(watched)} if watched else set()
    paths = {file.path for file in restart_on}, {file.path for file in reload_on}
    steps = decide(now, *paths, planned)
    if not steps:
        host.noop(f"{unit} runs, with its files as they are")
        return
    found = lacks(unit, now, *paths, planned)
    note(found, follows=not found)
    yield StringCommand(script(unit, steps, ports, stays))


def decide(unit: UnitState, restart_on: set[str], reload_on: set[str], planned: set[str]) -> list[str]:
    """What systemctl is to do, in order: of daemon-reload, enable, start, restart, reload.

    Args:
        unit: how it is now.
        restart_on: paths whose change needs a restart.
        reload_on: paths whose change needs a reload.
        planned: paths that this run is about to change.
    """
    enable = [] if unit.enabled else ["enable"]
    # Before a start always: NeedDaemonReload does not see the first drop-in of a unit, whose folder is new.
    if not unit.active and not unit.skipped:
        return ["daemon-reload", *enable, "start"]
    if unit.active and (restart_on & planned or _unread(unit, restart_on, unit.started)):
        return ["daemon-reload", *enable, "restart"]
    steps = [*(["daemon-reload"] if unit.stale else []), *enable]
    anew = unit.active and (reload_on & planned or _unread(unit, reload_on, unit.told))
    return [*steps, "reload"] if anew else steps


def _unread(unit: UnitState, paths: set[str], since: datetime | None) -> set[str]:
    """Those of the paths that were changed after a moment."""
    changed = dict(unit.changed)
    return {path for path in paths if since and path in changed and changed[path] > since}


def lacks(
    unit: str, now: UnitState, restart_on: set[str], reload_on: set[str], planned: set[str]
) -> list[Lack]:
    """What of a unit itself is otherwise.

    Args:
        unit: its name.
        now: how it is.
        restart_on, reload_on: paths of files that it reads.
        planned: those of them that are otherwise themselves: that it reads them anew only follows.
    """
    found = []
    if not now.enabled:
        found.append(Lack("service", unit, "enabled", "no", "yes"))
    if not now.active and not now.skipped:
        return [*found, Lack("service", unit, "state", "stopped", "running")]
    if now.stale:
        found.append(Lack("service", unit, "unit", "changed since systemd read it", "read"))
    old = _unread(now, restart_on, now.started) | _unread(now, reload_on, now.told)
    if now.active and old - planned:
        listed = ", ".join(sorted(old - planned))
        found.append(Lack("service", unit, "files", f"changed since it read them: {listed}", "read"))
    return found


def script(
    unit: str, steps: Sequence[str], ports: Sequence[int], stays: float, within: int | None = None
) -> str:
    """The shell script that takes the steps and watches the unit afterwards, `within` seconds at most."""
    name = shlex.quote(unit)
    listening = " ".join(f"{port:04X}" for port in ports)
    calls = [
        "systemctl daemon-reload" if step == "daemon-reload" else f"systemctl -q {step} {name}"
        for step in steps
    ]
    # What a package started before it was configured fails in a loop: no start of ours would follow, but the
    # next of the loop, which counts as a restart for ever.
    end_loop = (
        'case "$(show SubState) $(show NRestarts)" in '
        f'auto-restart*|*" "[1-9]*) systemctl -q stop {name} ;; esac'
    )
    most = (within or WITHIN) * 5  # looks, five a second
    return f"""
fail() {{
  echo "{unit}: $1" >&2
  systemctl --no-pager --full --lines=30 status {name} >&2
  exit 1
}}
show() {{ systemctl show -p "$1" --value {name}; }}
{end_loop if "start" in steps else ""}
systemctl reset-failed {name} 2>/dev/null
{chr(10).join(f'{call} || fail "{call} failed"' for call in calls)}
[ "$(show ActiveState)" = inactive ] && [ "$(show ConditionResult)" = no ] &&
  [ "$(show Result)" != exec-condition ] && exit 0
tries=0 quiet=0 process=
while [ "$quiet" -lt {max(1, round(stays * 5))} ]; do
  tries=$((tries + 1))
  [ "$tries" -le {most} ] || fail "it is $(show ActiveState), restarted $(show NRestarts) times$missing"
  [ "$(show ActiveState)" != failed ] || fail "it failed"
  now=$(show MainPID)/$(show ActiveState)
  missing=
  for port in {listening}; do
    grep -qiE ":$port [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null && continue
    missing="$missing, nothing listens on port 0x$port"
  done
  case "$now$missing" in */active) ;; *) process= ;; esac
  if [ "$now" = "$process" ]; then quiet=$((quiet + 1)); else quiet=0 process=$now; fi
  sleep 0.2
done
"""


@operation()
def gone(unit: str, also: Sequence[str] = ()) -> Generator[PyinfraCommand, None, None]:
    """
    A unit of ours, or our part of somebody's, that is not there any more. On an absent guest that is so.

    + unit: full name, with its suffix
    + also: further files that go with it

    **Example:**

    .. code:: python

        systemd.gone(name="Have no bridge", unit="mqtt-bridge.service", also=["/etc/mqtt-bridge"])
    """
    names = host.get_fact(UnitNames)
    if not {unit, f"{unit}.d"} & set(names):
        host.noop(f"there is no {unit}")
        return
    paths = " ".join(map(shlex.quote, (f"{FOLDER}/{unit}", f"{FOLDER}/{unit}.d", *also)))
    yield StringCommand(
        f"systemctl -q disable --now {shlex.quote(unit)} 2>/dev/null; rm -rf {paths}; systemctl daemon-reload"
    )

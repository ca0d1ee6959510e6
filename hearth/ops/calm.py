"""The way back from debug level: a timer of the guest that ends it, whoever deploys or not.

While a role is loud (`log_debug`), its files as they are otherwise lie beside it, in a folder that only root
reads. At the deadline they are put in place and the service reads them. The next run finds what it would
write.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from datetime import UTC, datetime

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops import files, shell
from hearth.ops.facts import UnitNames
from hearth.ops.files import File

ROOT = "/var/lib/hearth/calm"
UNITS = "/etc/systemd/system"


@operation()
def back(
    role: str, unit: str, usual: Sequence[File], until: datetime | None, step: str = "restart"
) -> Generator[PyinfraCommand, None, None]:
    """
    A timer that ends a role's debug level; none where it is not loud.

    + role: the role's name
    + unit: its unit
    + usual: its files as they are at the usual level; those alone that differ between the levels
    + until: when it ends, UTC; None: it is not loud
    + step: what makes the unit read them: "restart" or "reload"

    **Example:**

    .. code:: python

        calm.back(
            name="End debug level in time", role="mosquitto", unit="mosquitto.service", usual=[settings],
            until=here.loud_until, step="reload",
        )
    """
    name = name_of(role)
    if until is None:
        if f"{name}.timer" in host.get_fact(UnitNames):
            yield StringCommand(removing(name, role))
        else:
            host.noop("it is not loud")
        return
    yield from files.present._inner(parts(role, unit, usual, until, step))
    holds = (
        f"systemctl is-enabled -q {name}.timer && systemctl is-active -q {name}.timer && "
        f'[ "$(systemctl show -p NeedDaemonReload --value {name}.timer)" = no ]'
    )
    yield from shell.ensure._inner(
        holds,
        f"systemctl daemon-reload && systemctl -q enable {name}.timer && systemctl restart {name}.timer",
    )


def parts(role: str, unit: str, usual: Sequence[File], until: datetime, step: str) -> list[File]:
    """The usual files, the script that puts them back, its unit and its timer."""
    name = name_of(role)
    kept = [
        File(f"{ROOT}/{role}/{number}", file.content, mode="600", secret=True)
        for number, file in enumerate(usual)
    ]
    when = until.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return [
        *kept,
        File(f"{ROOT}/{role}/back", script(role, unit, usual, step), mode="700"),
        File(
            f"{UNITS}/{name}.service",
            "# Written by Hearth.\n[Unit]\n"
            f"Description=End the debug level of {role}\n\n"
            f"[Service]\nType=oneshot\nExecStart=/bin/sh {ROOT}/{role}/back\n",
        ),
        File(
            f"{UNITS}/{name}.timer",
            "# Written by Hearth.\n[Unit]\n"
            f"Description=End the debug level of {role}\n\n"
            # A guest that was off at that moment does it as soon as it is on.
            f"[Timer]\nOnCalendar={when}\nPersistent=true\nAccuracySec=1s\n\n"
            "[Install]\nWantedBy=timers.target\n",
        ),
    ]


def name_of(role: str) -> str:
    """The name of the timer and its service, without their endings."""
    return f"hearth-calm-{role.replace('_', '-')}"


def script(role: str, unit: str, usual: Sequence[File], step: str) -> str:
    """The shell script that puts the files back and ends itself."""
    name = name_of(role)
    lines = ["#!/bin/sh", "# Written by Hearth.", "set -eu"]
    for number, file in enumerate(usual):
        path = shlex.quote(file.path)
        new = shlex.quote(f"{file.path}.hearth-calm")
        lines += [
            f"install -o {shlex.quote(file.user)} -g {shlex.quote(file.group)} -m {file.mode} "
            f"{ROOT}/{role}/{number} {new}",
            f"mv -fT {new} {path}",
        ]
    lines += [
        f"systemctl -q is-active {shlex.quote(unit)} && systemctl {step} {shlex.quote(unit)}",
        # Without waiting: this is the service that the timer started.
        f"systemctl -q disable {name}.timer",
        f"rm -rf {ROOT}/{role} {UNITS}/{name}.timer {UNITS}/{name}.service",
        "systemctl daemon-reload",
        f"systemctl --no-block stop {name}.timer 2>/dev/null || :",
    ]
    return "\n".join(lines) + "\n"


def removing(name: str, role: str) -> str:
    """The shell script that takes the timer away."""
    return (
        f"systemctl -q disable --now {name}.timer 2>/dev/null; "
        f"rm -rf {ROOT}/{role} {UNITS}/{name}.timer {UNITS}/{name}.service; systemctl daemon-reload"
    )

"""Debian packages."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops.noted import Lack, note

FRESH = 60  # minutes for which package lists are believed
LOCK = 300  # seconds: a first boot installs updates of its own


class Missing(FactBase[list[str] | None]):
    """Which of these packages are not installed; None where that is not known (an absent guest).

    + packages: names
    """

    def command(self, packages: Sequence[str]) -> str:
        names = " ".join(map(shlex.quote, packages))
        status = "dpkg-query -W -f '${db:Status-Status}' \"$p\" 2>/dev/null"
        return f'for p in {names}; do [ "$({status})" = installed ] || echo "missing $p"; done; echo asked'

    def process(self, output: list[str]) -> list[str]:
        return [line.removeprefix("missing ") for line in output if line.startswith("missing ")]


@operation()
def installed(packages: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """
    Install Debian packages, without recommendations; package lists are fetched only when something is
    missing.

    + packages: names

    Unlike pyinfra's own, it waits for a running apt (unattended-upgrades, first boot) instead of failing,
    keeps configuration files that were changed, and says nothing changed when only the lists have grown old.

    **Example:**

    .. code:: python

        apt.installed(name="Install what the roles use", packages=["mosquitto", "sudo"])
    """
    missing = host.get_fact(Missing, packages=list(packages))
    wanted = list(packages) if missing is None else missing
    if not wanted:
        host.noop("all packages are installed")
        return
    note([Lack("package", package, "package", "missing", "installed") for package in wanted])
    yield StringCommand(installing(wanted))


def installing(packages: Sequence[str]) -> str:
    """The shell script that installs packages."""
    get = (
        f"apt-get -qq -o DPkg::Lock::Timeout={LOCK} -o Dpkg::Options::=--force-confdef "
        "-o Dpkg::Options::=--force-confold"
    )
    stamp = "/run/hearth/apt-lists"
    return "\n".join(
        [
            "set -eu",
            "export DEBIAN_FRONTEND=noninteractive",
            "mkdir -p -m 700 /run/hearth",
            f'if [ -z "$(find {stamp} -mmin -{FRESH} 2>/dev/null)" ]; then',
            # The lists' lock has no timeout of its own in apt.
            f"  for try in 1 2 3 4 5 6; do {get} -o APT::Update::Error-Mode=any update && break; "
            '[ "$try" -lt 6 ] || exit 1; sleep 5; done',
            f"  touch {stamp}",
            "fi",
            f"{get} install --yes --no-install-recommends {' '.join(map(shlex.quote, packages))} >/dev/null",
        ]
    )

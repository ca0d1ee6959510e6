"""Programs that are no Debian packages: versions side by side below /opt/hearth, and a way back.

    /opt/hearth/APP/releases/IDENT   one folder a version; IDENT names all that its build depends on
    /opt/hearth/APP/current          a link to the release that runs
    /opt/hearth/APP/proven           the release that last passed its health check
    /opt/hearth/APP/proven.d         the files that it had then
    /opt/hearth/APP/trying           the release that a run is at; it stays where something cut that off
    /opt/hearth/APP/failed           the release that failed last, and when

A release is built where it will stay (a Python environment holds its own path) and counts only once it has
the file `.complete`, which is written last. So a build that was killed leaves nothing that anybody would run.

A role's data change hands with the release: they are copied first, and come back with the old one
(hearth.backup.onguest.upgrade).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops import release_scripts as scripts
from hearth.ops import systemd, upgrade
from hearth.ops.facts import Succeeds, Unit, UnitState
from hearth.ops.files import File, differing
from hearth.ops.noted import Lack, fields, note

if TYPE_CHECKING:
    from hearth.role.declaration import Role

ROOT = "/opt/hearth"
UPGRADES = "/var/lib/hearth/upgrades"  # hearth.backup.onguest.upgrade
BUILDER = "hearth-build"  # the user that builds: it owns nothing else, and may read no secret
WITHIN = 1800  # seconds for a build


@dataclass(frozen=True)
class Parcel:
    """A file that a build gets from the machine that deploys.

    Args:
        name: its name in the folder `$SOURCES`.
        content: its bytes; no secrets.
    """

    name: str
    content: bytes = field(repr=False)


def ident_of(label: str, *parts: Any) -> str:
    """The name of a release: a readable label and a digest of everything that its build depends on.

    Args:
        label: e.g. the version; characters that do not belong into a file's name become `-`.
        parts: texts, bytes, or whatever JSON can hold: the build script, hashes, versions of the runtime.
    """
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in label).strip(".-")
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(b"%d:" % len(data) + data)
    return f"{readable[:40]}-{digest.hexdigest()[:12]}".lstrip("-")


def path_of(app: str, ident: str) -> str:
    """The folder of a release."""
    return f"{ROOT}/{app}/releases/{ident}"


def current(app: str) -> str:
    """The link to the release that runs: what a unit starts from."""
    return f"{ROOT}/{app}/current"


@operation()
def built(
    app: str,
    ident: str,
    build: str,
    *,
    parcels: Sequence[Parcel] = (),
    uses: Sequence[str] = (),
    within: int = WITHIN,
) -> Generator[PyinfraCommand, None, None]:
    """
    A release that is there, complete; nothing runs from it yet.

    + app: the program's name, a folder's name
    + ident: the release's name, see `ident_of`
    + build: shell script (`sh -eu`) that fills its working folder, which is the release's final place
    + parcels: files that it finds in ``$SOURCES``
    + uses: folders of other releases that this one cannot do without (`runtime.Node.path`)
    + within: seconds, after which the build and all its processes are killed

    The script runs as a user of its own, without any right, in an environment that has only PATH, HOME and
    TMPDIR (a folder that is removed afterwards), proxies and the system's authorities; the release then
    belongs to root and nobody can change it. When it fails, the end of its output is shown; all of it is in
    /opt/hearth/APP/build.log.

    A release of an older version than the one that runs is refused, before anything is touched, unless
    ``--data downgrade=APP`` says otherwise.

    **Example:**

    .. code:: python

        release.built(name="Build the thing", app="thing", ident=ident, build='npm ci --prefix .')
    """
    proven = host.get_fact(RunningRelease, app=app).proven
    refused = upgrade.refusal(app, host.name, proven, ident, host.data)
    if refused:
        note(fields("release", app, {"release": proven}, {"release": ident}), says="refused: it is older")
        yield StringCommand(f"echo {shlex.quote(refused)} >&2; exit 1")
        return
    there = f"[ -e {shlex.quote(path_of(app, ident))}/{scripts.COMPLETE} ]"
    if host.get_fact(Succeeds, test=there):
        host.noop(f"{app} {ident} is there")
        return
    job = scripts.Build(f"{ROOT}/{app}", ident, build, tuple(uses), BUILDER, within)
    yield StringCommand(scripts.prepare_inbox(job))
    for parcel in parcels:
        yield FileUploadCommand(BytesIO(parcel.content), f"{job.inbox}/{parcel.name}")
    yield StringCommand(scripts.building(job))


@dataclass(frozen=True)
class Running:
    """What runs of a program.

    Args:
        current: the release that the link names.
        proven: the release that last passed its health check.
        unfinished: a switch or restart was begun and never ended, with success or on the way back.
        failed: the release that failed last, and when, with a space between them.
        kept_days: for how many days the data from before the last upgrade have been kept; None: none are.
    """

    current: str = ""
    proven: str = ""
    unfinished: bool = False
    failed: str = ""
    kept_days: int | None = None

    def is_at(self, ident: str) -> bool:
        """True where this release runs and has proved itself."""
        return self.current == self.proven == ident and not self.unfinished


class RunningRelease(FactBase[Running]):
    """Which release of a program runs, and which one proved itself.

    + app: the program's name
    """

    @staticmethod
    def default() -> Running:
        return Running()

    def command(self, app: str) -> str:
        folder, kept = shlex.quote(f"{ROOT}/{app}"), shlex.quote(f"{UPGRADES}/{app}.json")
        return (
            f"cd {folder} 2>/dev/null || exit 0; "
            'echo "current=$(basename "$(readlink current)")"; echo "proven=$(cat proven 2>/dev/null)"; '
            'echo "failed=$(cat failed 2>/dev/null)"; [ ! -e trying ] || echo unfinished=yes; '
            f"since=$(stat -c %Y {kept} 2>/dev/null) && "
            'echo "kept=$((($(date +%s) - since) / 86400))" || :'
        )

    def process(self, output: list[str]) -> Running:
        found = dict(line.partition("=")[::2] for line in output)
        kept = int(found["kept"]) if "kept" in found else None
        return Running(
            found.get("current", ""),
            found.get("proven", ""),
            "unfinished" in found,
            found.get("failed", ""),
            kept,
        )


@operation()
def active(
    role: Role,
    app: str,
    ident: str,
    unit: str,
    health: str,
    *,
    restart_on: Sequence[File] = (),
    reload_on: Sequence[File] = (),
    ports: Sequence[int] = (),
    within: int = 60,
) -> Generator[PyinfraCommand, None, None]:
    """
    A program that runs from this release, with its files as they are, and is healthy. It takes the place of
    `systemd.service` for the unit.

    + role: the role; what it keeps (`state`) is kept from before another release gets it
    + app: the program's name
    + ident: the release; `built` has made it
    + unit: full name, with its suffix; it starts the program from `current(app)`
    + health: shell command that exits with 0 when the program does its work, see `http_health`
    + restart_on: files after whose change it must be restarted, the unit's own among them
    + reload_on: files after whose change a reload is enough
    + ports: TCP ports that must be listening afterwards
    + within: seconds until it must be healthy

    After a switch, a restart or a reload the health check has to succeed within its time. Where it does not,
    the operation fails with the unit's status, its log and the check's words, and the release that last
    proved itself runs again with the files and the data that it had then. A run that was interrupted on the
    way is taken up by the next one. The two releases before the current one are kept, older ones go; the data
    from before it stay for `upgrade_kept_days`, or until the next upgrade.

    **Example:**

    .. code:: python

        release.active(
            name="Run the thing", role=here.role, app="thing", ident=ident, unit="thing.service",
            restart_on=[config, unit], health=release.http_health(13000, "/health"), ports=[13000],
        )
    """
    watched = [*restart_on, *reload_on]
    now = host.get_fact(Unit, unit=unit, paths=[file.path for file in watched])
    running = host.get_fact(RunningRelease, app=app)
    planned = {file.path for file in differing(watched)} if watched else set()
    paths = {file.path for file in restart_on}, {file.path for file in reload_on}
    steps = decide(now, running, ident, *paths, planned=planned)
    if not steps:
        yield from _forgotten(app, running, f"{unit} runs {ident}, with its files as they are")
        return
    found = [*_lacks(app, running, ident), *systemd.lacks(unit, now, *paths, planned)]
    says = upgrade.described(running.proven, ident, bool(role.state), running.failed)
    note(found, follows=not found, says=says)
    watched_paths = tuple(file.path for file in watched)
    yield StringCommand(
        scripts.activating(
            scripts.Switch(
                f"{ROOT}/{app}", ident, unit, health, watched_paths, tuple(ports), within, role.name
            ),
            steps,
        )
    )


def _forgotten(app: str, running: Running, otherwise: str) -> Generator[PyinfraCommand, None, None]:
    """Data from before an upgrade go when their time is over."""
    days = upgrade.kept_days(host.data)
    if running.kept_days is None or running.kept_days < days:
        host.noop(otherwise)
        return
    note([], follows=True, says=f"remove the data from before the last upgrade, {days} days ago or more")
    yield StringCommand(f"{scripts.KEEPER} forget {shlex.quote(app)}")


def decide(
    unit: UnitState,
    running: Running,
    ident: str,
    restart_on: set[str],
    reload_on: set[str],
    *,
    planned: set[str],
) -> list[str]:
    """What systemctl is to do, in order; nothing where all is as it should be.

    Args:
        unit: how the unit is now.
        running: which release runs.
        ident: the one that should.
        restart_on: paths whose change needs a restart.
        reload_on: paths whose change needs a reload.
        planned: paths that this run is about to change.
    """
    if running.is_at(ident):
        return systemd.decide(unit, restart_on, reload_on, planned)
    return ["daemon-reload", *([] if unit.enabled else ["enable"]), "restart"]


def _lacks(app: str, running: Running, ident: str) -> list[Lack]:
    now = {"release": running.current or "none", "proven": running.proven or "none"}
    found = fields("release", app, now, {"release": ident, "proven": ident})
    return [*found, *([Lack("release", app, "switch", "never ended", "ended")] if running.unfinished else [])]


def http_health(port: int, path: str, within: int = 5) -> str:
    """A health check: the program answers with success on loopback. The guest needs the package `curl`.

    Args:
        port: TCP port on 127.0.0.1, in plain.
        path: what is asked for, with its slash.
        within: seconds for one answer.
    """
    url = shlex.quote(f"http://127.0.0.1:{port}{path}")
    return f"curl -sS --fail-with-body --noproxy '*' --max-time {within} {url}"

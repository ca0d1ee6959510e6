"""Programs that are no Debian packages: versions side by side below /opt/hearth, and a way back.

    /opt/hearth/APP/releases/IDENT   one folder a version; IDENT names all that its build depends on
    /opt/hearth/APP/current          a link to the release that runs
    /opt/hearth/APP/proven           the release that last passed its health check
    /opt/hearth/APP/proven.d         the files that it had then

A release is built where it will stay (a Python environment holds its own path) and counts only once it has
the file `.complete`, which is written last. So a build that was killed leaves nothing that anybody would run.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops import release_scripts as scripts
from hearth.ops import systemd
from hearth.ops.facts import Succeeds, Unit, UnitState
from hearth.ops.files import File, differing
from hearth.ops.noted import Lack, fields, note

ROOT = "/opt/hearth"
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

    **Example:**

    .. code:: python

        release.built(name="Build the thing", app="thing", ident=ident, build='npm ci --prefix .')
    """
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
    """

    current: str = ""
    proven: str = ""
    unfinished: bool = False


class RunningRelease(FactBase[Running]):
    """Which release of a program runs, and which one proved itself.

    + app: the program's name
    """

    @staticmethod
    def default() -> Running:
        return Running()

    def command(self, app: str) -> str:
        folder = shlex.quote(f"{ROOT}/{app}")
        return (
            f"cd {folder} 2>/dev/null || exit 0; "
            'echo "current=$(basename "$(readlink current)")"; echo "proven=$(cat proven 2>/dev/null)"; '
            "[ ! -e trying ] || echo unfinished=yes"
        )

    def process(self, output: list[str]) -> Running:
        found = dict(line.partition("=")[::2] for line in output)
        return Running(found.get("current", ""), found.get("proven", ""), "unfinished" in found)


@operation()
def active(
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
    proved itself runs again with the files that it had then. A run that was interrupted on the way is taken
    up by the next one. The two releases before the current one are kept, older ones go.

    **Example:**

    .. code:: python

        release.active(
            name="Run the thing", app="thing", ident=ident, unit="thing.service", restart_on=[config, unit],
            health=release.http_health(13000, "/health"), ports=[13000],
        )
    """
    watched = [*restart_on, *reload_on]
    now = host.get_fact(Unit, unit=unit, paths=[file.path for file in watched])
    running = host.get_fact(RunningRelease, app=app)
    planned = {file.path for file in differing(watched)} if watched else set()
    paths = {file.path for file in restart_on}, {file.path for file in reload_on}
    steps = decide(now, running, ident, *paths, planned=planned)
    if not steps:
        host.noop(f"{unit} runs {ident}, with its files as they are")
        return
    found = [*_lacks(app, running, ident), *systemd.lacks(unit, now, *paths, planned)]
    note(found, follows=not found)
    watched_paths = tuple(file.path for file in watched)
    yield StringCommand(
        scripts.activating(
            scripts.Switch(f"{ROOT}/{app}", ident, unit, health, watched_paths, tuple(ports), within), steps
        )
    )


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
    if running == Running(ident, ident):
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

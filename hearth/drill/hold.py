"""A drill, from the first look to the last: restore.py in a twin, timed, judged, and taken away again."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hearth.backup import proof, record, restoring
from hearth.backup.proof import Proven
from hearth.backup.timeline import Event, Timeline, objectives, verdicts
from hearth.drill import archives, home
from hearth.drill.commands import Commands, interruptible, undisturbed
from hearth.drill.copying import copied
from hearth.drill.home import Files
from hearth.drill.stages import INTERRUPTED, Result, Stages, like, write
from hearth.errors import HearthError
from hearth.lock import hold_lock

if TYPE_CHECKING:
    from hearth.run import Run

LOCK = "drill.lock"
FOLDER = "drill"


@dataclass(frozen=True)
class How:
    """What was asked for.

    Args:
        date: as behind `date=` of restore.py.
        accept_missing: go on where a state is in no backup.
        keep: leave the twin, to look at.
    """

    date: str | None = None
    accept_missing: bool = False
    keep: bool = False

    @property
    def data(self) -> dict[str, str]:
        """The same as restore.py has it."""
        words = {"from": "remote", "date": self.date, "missing": "accept" if self.accept_missing else None}
        return {key: value for key, value in words.items() if value}


def machine() -> None:
    """Refuse a machine that cannot be a twin.

    Raises:
        HearthError: not root, not Debian, or a program is missing.
    """
    if os.geteuid() != 0:
        raise HearthError(
            "hold a drill", "its twin needs root: namespaces and containers", "sudo hearth drill"
        )
    if not Path("/etc/debian_version").exists():
        raise HearthError("hold a drill", "this machine is not Debian", "use one with Debian 12 or newer")
    if shutil.which("restic") is None:
        raise HearthError("hold a drill", "restic is not installed on this machine", "apt install restic")
    missing = [name for name in ("fakepve", "pytest") if importlib.util.find_spec(name) is None]
    if missing:
        right = "pip install -r requirements-dev.txt, in the environment of `hearth`"
        raise HearthError("hold a drill", f"its twin needs {', '.join(missing)}", right)


class Drill:
    """One drill.

    Args:
        run: production's; it is only read.
        how: what was asked for.
        say: told what is done.
    """

    def __init__(self, run: Run, how: How, say: Callable[[str], None]) -> None:
        self.run, self.how, self._say = run, how, say
        self.files = Files(run.state_dir.absolute() / FOLDER)
        self.result = Result(datetime.now(UTC))
        self.stages = Stages(self.result, say)
        self.twin_name = str(run.values["drill_twin"])
        self._commands = Commands(run.project, self.files.log, say)
        self._lead = 0.0  # seconds that a real restore would have needed before it began to make guests
        self._archives: dict[str, Path] = {}

    def hold(self) -> Result:
        """Hold it; what came of it is written down, whatever happens.

        Raises:
            HearthError: it could not begin.
            KeyboardInterrupt: it was told to end. All of it is taken away, and written down.
        """
        machine()
        if not self.run.state_dir.exists():
            self.run.state_dir.mkdir(mode=0o700, parents=True)
            like(self.run.project, self.run.state_dir)
        hold_lock(self.run.state_dir / LOCK)
        source = self._source()
        with interruptible():
            try:
                self._begin()
                self._stages(source)
            except HearthError as error:
                if all(stage.ok for stage in self.result.stages):
                    self.stages.add("begin", 0.0, self.stages.now(), False, str(error))
            finally:
                self._end()
        return self.result

    def _source(self) -> Any:
        found = restoring.remote_source(self.run.values, self.run.secrets)
        if found is None:
            raise HearthError(
                "hold a drill",
                "no backup leaves the home: there is nothing to restore from",
                "set cloud_data_sync_repository in group_data/cloud_data_sync.py",
            )
        return found

    def _begin(self) -> None:
        """Away with what a killed drill left."""
        shutil.rmtree(self.files.folder, ignore_errors=True)
        self.files.folder.mkdir(mode=0o700, parents=True)
        self._twin("take away what a killed drill left", "down")

    def _stages(self, source: Any) -> None:
        proven = self._proven(source)
        self.result.source = str(proven.snapshot)
        with self.stages.stage("backup copied to this machine"):
            copied(proven.snapshot, source.repository, self.files.repository)
        self._lead = self.stages.now()
        with self.stages.stage("twin made"):
            self._make_twin(proven)
        self._restore(proven)

    def _proven(self, source: Any) -> Proven:
        run = self.run
        wanted = restoring.wanted(run.fleet.guests, run.roles, run.fleet)
        choice = restoring.choice(self.how.data, run.values)
        self.result.notes += archives.known_to_proxmox(run, choice.date)
        with self.stages.stage("backup found and proven") as note:
            found = proof.find([source], wanted, choice, self._say)
            note.append(str(found.snapshot))
        self.result.notes += [f"no backup has {name}: it begins anew" for name in found.missing]
        return found

    def _make_twin(self, proven: Proven) -> None:
        self.result.notes += home.write(self.run, self.files)
        self._twin("make the twin", "up")
        line = self._inside("make the key of the node", ["hearth", "node-key", "--line"])
        self.files.node_key.write_text(line)
        self._twin("let Hearth's key onto the twin's node", "trust-node-key", str(self.files.node_key))
        self._lend()

    def _lend(self) -> None:
        """Have the twin's node show Proxmox's own backups, where this machine can read them."""
        folder, backup = self.run.values["drill_archives"], self.run.fleet.backup
        if not folder or backup is None or not backup.jobs:
            return
        choice = restoring.choice(self.how.data, self.run.values)
        for guest, file in archives.newest(Path(folder), self.run.fleet.guests, choice.date).items():
            if archives.is_of_qemu(file):
                self.result.notes.append(f"{guest} is made new: a real VM's backup needs QEMU")
            else:
                self._archives[guest] = file
        files = [str(file) for file in self._archives.values()]
        self._twin("lend the twin Proxmox's backups", "lend", backup.jobs[0].storage, *files)

    # ----------------------------------------------------------------- restore

    def _restore(self, proven: Proven) -> None:
        words = [f"date={proof.shown(proven.snapshot.time)}", "from=remote"]
        words += ["missing=accept"] if self.how.accept_missing else []
        words += [] if self._archives else ["archives=no"]
        given = [word for pair in words for word in ("--data", pair)]
        began, failure = self.stages.now(), None
        self._say("restore.py, in the twin")
        try:
            self._inside("restore the home in the twin", ["pyinfra", "inventory", "restore.py", "-y", *given])
        except HearthError as error:
            failure = str(error)
        except KeyboardInterrupt:
            self.stages.add("restore.py", began, self.stages.now() - began, False, INTERRUPTED)
            raise
        self._judge(proven, began, failure)

    def _judge(self, proven: Proven, began: float, failure: str | None) -> None:
        """What restore.py wrote down, as stages and objectives of the drill."""
        found = record.read(self.files.state)
        events = record.events(found) if found else []
        for name, begins, ends in self._parts(events):
            self.stages.add(name, began + begins, ends - begins, True)
        whole = failure is None and found is not None and found["verified"] is not False
        note = failure or ("" if whole else "it left no record")
        self.stages.add("restore.py", began, self.stages.now() - began, whole, note)
        if found is None:
            return
        self.result.restored, self.result.archives = found["restored"], found["archives"]
        timeline = Timeline()
        timeline.events = [
            Event(each.after + self._lead, each.guest, each.what, each.role) for each in events
        ]
        never = {(each["guest"], each["role"]) for each in found["unfinished"]}
        judged = verdicts(timeline, proven, objectives(self.run.values), datetime.now(UTC), never)
        self.result.objectives = [verdict.to_json() for verdict in judged]
        missed = [str(verdict) for verdict in judged if not verdict.met]
        self.stages.add("objectives", self.stages.now(), 0.0, not missed, "; ".join(missed))

    def _parts(self, events: Sequence[Event]) -> Iterator[tuple[str, float, float]]:
        """Parts of the restore: their name, begin and end, in seconds after it began."""
        critical = set(objectives(self.run.values).critical_roles)
        ends = {
            "guests are there": [each.after for each in events if each.what == "guest is there"],
            "critical services": [each.after for each in events if each.role in critical],
            "all services": [each.after for each in events if each.role],
            "verification": [each.after for each in events if each.what.startswith("verif")],
        }
        begins = 0.0
        for name, times in ends.items():
            if times:
                yield name, min(begins, max(times)), max(times)
                begins = max(times)

    # -------------------------------------------------------------------- twin

    def _twin(self, what: str, *words: str) -> str:
        argv = [sys.executable, "-m", "twin", "--name", self.twin_name, *words]
        return self._commands.run(what, argv, home.outside(self.run, self.files))

    def _inside(self, what: str, command: Sequence[str]) -> str:
        """Run a command in the twin, with what it has to know of this home."""
        settings = [f"{key}={value}" for key, value in home.inside(self.run, self.files).items()]
        script = f'exec env HEARTH_OVERRIDES="{home.overrides(self.run, self.files)}" {shlex.join(command)}'
        return self._twin(what, "exec", "--", "env", *settings, "sh", "-c", script)

    def _end(self) -> None:
        """Leave nothing, and write down what there was, whatever happens meanwhile."""
        with undisturbed():
            try:
                if not self.how.keep:
                    with suppress(HearthError), self._taken_away():
                        self._twin("take the twin away", "down")
                    shutil.rmtree(self.files.folder, ignore_errors=True)
            finally:
                write(self.run.state_dir, self.result)

    @contextmanager
    def _taken_away(self) -> Iterator[None]:
        with self.stages.stage("twin taken away"):
            yield

"""The stages of a drill: what was done, from when on, how long it took, and how it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hearth.backup.timeline import spoken
from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.report.drill import FILE, Stage

INTERRUPTED = "interrupted"


@dataclass
class Result:
    """What a drill says in the end.

    Args:
        began: when.
        stages: in order.
        source: the backup it was from, in words.
        restored, archives, objectives: as hearth.backup.record has them.
        notes: what else is to be known.
    """

    began: datetime
    stages: list[Stage] = field(default_factory=list)
    source: str = ""
    restored: list[dict[str, Any]] = field(default_factory=list)
    archives: list[dict[str, Any]] = field(default_factory=list)
    objectives: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Every stage went well, and every objective was met."""
        return all(stage.ok for stage in self.stages) and all(each["met"] for each in self.objectives)

    def to_json(self) -> dict[str, Any]:
        """The content of drill.json; hearth.report.drill reads a part of it."""
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "ok": self.good,
            "source": self.source,
            "stages": [
                {
                    "name": stage.name,
                    "begins": round(stage.begins, 1),
                    "seconds": round(stage.seconds, 1),
                    "ok": stage.ok,
                    "note": stage.note,
                }
                for stage in self.stages
            ],
            "restored": self.restored,
            "archives": self.archives,
            "objectives": self.objectives,
            "notes": self.notes,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"drill of {self.began:%Y-%m-%d %H:%M} UTC, from {self.source or 'no backup'}"
        for stage in self.stages:
            note = f"  {stage.note}" if stage.note else ""
            yield f"  {'ok    ' if stage.ok else 'FAILED'}  {stage.name}: {spoken(stage.seconds)}{note}"
        for each in self.archives:
            yield f"  {each['guest']}: Proxmox's backup of {each['made']}"
        for each in self.restored:
            yield f"  {each['guest']}/{each['state']}: of {each['made']}, {each['bytes']} bytes"
        for each in self.objectives:
            detail = f" ({each['detail']})" if each["detail"] else ""
            word = "met" if each["met"] else "MISSED"
            yield f"  {word}: {each['name']} {spoken(each['found'])} of {spoken(each['promised'])}{detail}"
        for note in self.notes:
            yield f"  note: {note}"
        yield "the drill went well" if self.good else "the drill FAILED"


class Stages:
    """Runs stages one after the other.

    Args:
        result: gets them.
        say: told what is done.
        clock: monotonic seconds.
    """

    def __init__(
        self, result: Result, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.result, self._say, self._clock = result, say, clock
        self._began = clock()

    def now(self) -> float:
        """Seconds since the drill began."""
        return self._clock() - self._began

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Do something as a stage; what is put into the list becomes its note. What fails goes on."""
        self._say(name)
        begins, note = self.now(), list[str]()
        ok = False
        try:
            yield note
            ok = True
        except HearthError as error:
            note.append(str(error))
            raise
        except KeyboardInterrupt:
            note.append(INTERRUPTED)
            raise
        finally:
            self.add(name, begins, self.now() - begins, ok, "; ".join(note))

    def add(self, name: str, begins: float, seconds: float, ok: bool, note: str = "") -> None:
        """Note a stage that is over."""
        self.result.stages.append(Stage(name, begins, seconds, ok, note))


def like(owner: Path, path: Path) -> None:
    """Give a file to another one's owner: a drill is root's, its result the admin's. Raises OSError."""
    facts = owner.stat()
    os.chown(path, facts.st_uid, facts.st_gid)


def write(state_dir: Path, result: Result) -> Path:
    """Keep a drill's result for `hearth report`; the file.

    Raises:
        HearthError: it cannot be written.
    """
    path = state_dir / FILE
    try:
        write_durably(path, (json.dumps(result.to_json(), indent=2) + "\n").encode())
        like(state_dir, path)
    except OSError as error:
        raise HearthError(f"write {path}", error.strerror or str(error)) from None
    return path

"""The runs, in SQLite, so that they outlive the service. Bounded."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from ai_automation.run import UNFINISHED, Outcome, Run, Trigger

_log = logging.getLogger(__name__)

MOST_RESULT = 4096  # characters of an action's result that are kept
INTERRUPTED = "the service stopped before this run had ended"
_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    automation TEXT NOT NULL,
    state TEXT NOT NULL,
    run TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_state ON runs (state, number);
CREATE INDEX IF NOT EXISTS runs_automation ON runs (automation, number);
"""
_MARKS = ", ".join("?" for _ in UNFINISHED)


class History:
    """The history's file. May be used from several threads.

    Args:
        path: the database; a file that is none is put aside, since automations matter more than history.
        keep: how many finished runs are kept.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.broken-{int(time.time())}")
            _log.error("the history is unreadable (%s): it was put aside as %s", error, aside)
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            path.rename(aside)
            self._database = _open(path)
        self.failing = False

    def save(self, run: Run) -> None:
        """Write a run as it is now. A full disk stops no automation: it is logged, and `failing` set."""
        body = json.dumps(_short(run.to_json()))
        try:
            with self._lock, self._database:
                self._database.execute(
                    "INSERT INTO runs (id, automation, state, run) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, run = excluded.run",
                    (run.id, run.automation, run.state, body),
                )
                if run.state not in UNFINISHED:
                    self._prune()
        except sqlite3.Error as error:
            self.failing = True
            _log.error("run %s cannot be written to the history: %s", run.id, error)
        else:
            self.failing = False

    def get(self, run_id: str) -> dict[str, Any] | None:
        """A run as plain data."""
        found = self._ask("SELECT run FROM runs WHERE id = ?", (run_id,))
        return found[0] if found else None

    def find(
        self, automation: str | None, state: str | None, before: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest runs first.

        Args:
            automation: only of this one.
            state: only in this state.
            before: only older than the run with this id.
            limit: at most so many.
        """
        parts = ["1 = 1"]
        values: list[str | int] = []
        for part, value in (
            ("automation = ?", automation),
            ("state = ?", state),
            ("number < (SELECT number FROM runs WHERE id = ?)", before),
        ):
            if value is not None:
                parts.append(part)
                values.append(value)
        query = f"SELECT run FROM runs WHERE {' AND '.join(parts)} ORDER BY number DESC LIMIT ?"
        return self._ask(query, (*values, limit))

    def interrupt(self) -> list[Run]:
        """Mark every run that a stop cut off; to be called before the first new run.

        Returns:
            Those runs, oldest first. Queued ones are among them: a run that waited in another hour is
            reported, not made up for.
        """
        rows = self._ask(f"SELECT run FROM runs WHERE state IN ({_MARKS}) ORDER BY number", UNFINISHED)
        runs = [_run(row) for row in rows]
        for run in runs:
            end_interrupted(run)
            self.save(run)
        return runs

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _ask(self, query: str, values: tuple[str | int, ...]) -> list[dict[str, Any]]:
        with self._lock:
            return [json.loads(row[0]) for row in self._database.execute(query, values)]

    def _prune(self) -> None:
        self._database.execute(
            f"DELETE FROM runs WHERE state NOT IN ({_MARKS}) AND number <= "
            f"(SELECT number FROM runs WHERE state NOT IN ({_MARKS}) ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (*UNFINISHED, *UNFINISHED, self._keep),
        )


def end_interrupted(run: Run) -> None:
    """Make a run one that was interrupted now, with the actions that were never begun as such."""
    run.state, run.error, run.finished = "interrupted", INTERRUPTED, time.time()
    for outcome in run.actions:
        if outcome.state == "running":
            outcome.state, outcome.finished = "interrupted", run.finished
        elif outcome.state == "pending":
            outcome.state = "not_run"


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # a run that began is known even after a power cut
        if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        database.executescript(_TABLE)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _short(run: dict[str, Any]) -> dict[str, Any]:
    for outcome in run["actions"]:
        text = json.dumps(outcome["result"])
        if len(text) > MOST_RESULT:
            outcome["result"] = {"shortened": text[:MOST_RESULT]}
    return run


def _run(row: dict[str, Any]) -> Run:
    actions = [Outcome(**outcome) for outcome in row.pop("actions")]
    return Run(**row | {"trigger": Trigger(**row["trigger"]), "actions": actions})

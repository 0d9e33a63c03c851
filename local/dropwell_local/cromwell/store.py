"""The server's memory: workflows and call attempts in SQLite, so that a restart forgets none."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TERMINAL = ("Aborted", "Succeeded", "Failed")
_ORDER = ("On Hold", "Submitted", "Running", "Aborting", "Aborted", "Succeeded", "Failed")

_CALL_ORDER = ("NotStarted", "WaitingForQueueSpace", "QueuedInCromwell", "Starting", "Running")
_CALL_ENDED = ("Failed", "RetryableFailure", "Done", "Aborted", "Bypassed", "Unstartable")

_CROMWELLS = ("workflow", "call", "cache")
"""What is Cromwell's own."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS workflow (
    id TEXT PRIMARY KEY, root TEXT NOT NULL, parent TEXT, status TEXT NOT NULL,
    submitted_at REAL NOT NULL, facts TEXT NOT NULL, labels TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS workflow_root ON workflow (root);
CREATE INDEX IF NOT EXISTS workflow_status ON workflow (status);
CREATE TABLE IF NOT EXISTS call (
    workflow TEXT NOT NULL, fqn TEXT NOT NULL, shard INTEGER NOT NULL, attempt INTEGER NOT NULL,
    facts TEXT NOT NULL, PRIMARY KEY (workflow, fqn, shard, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, root TEXT NOT NULL, unsaid INTEGER NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, entry TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS job_root ON job (root);
CREATE INDEX IF NOT EXISTS job_unsaid ON job (id) WHERE unsaid;
"""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow on record.

    Parameters
    ----------
    id, root, parent : str
        Itself, its root (itself for a run), the workflow that called it.
    status : str
        Cromwell's word.
    submitted_at : float
        Seconds since 1970: reads see it a while later.
    facts, labels : dict
        Its metadata, but calls.
    """

    id: str
    root: str
    parent: str | None
    status: str
    submitted_at: float
    facts: dict[str, Any]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one shard of a call, with its metadata."""

    workflow: str
    fqn: str
    shard: int
    attempt: int
    facts: dict[str, Any]


class Store:
    """Everything the server has been told. Used from one thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def save_as(self, path: Path) -> None:
        """Copy everything into a file."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        self._db.execute("VACUUM INTO ?", (str(unfinished),))
        unfinished.replace(path)

    def return_to(self, path: Path) -> None:
        """Put back what a file has, but for jobs: these are Batch's, which is not set back."""
        self._db.execute("ATTACH ? AS before", (str(path),))
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for table in _CROMWELLS:
                    self._db.execute(f"DELETE FROM main.{table}")
                    self._db.execute(f"INSERT INTO main.{table} SELECT * FROM before.{table}")
        finally:
            self._db.execute("DETACH before")

    def add(self, workflow: Workflow) -> bool:
        """Put a new workflow on record; `False` if its id is in use."""
        added = self._db.execute(
            "INSERT OR IGNORE INTO workflow VALUES (?,?,?,?,?,?,?)",
            (
                workflow.id,
                workflow.root,
                workflow.parent,
                workflow.status,
                workflow.submitted_at,
                json.dumps(workflow.facts),
                json.dumps(workflow.labels),
            ),
        )
        return added.rowcount == 1

    def get(self, workflow_id: str) -> Workflow | None:
        return next(self._workflows("WHERE id = ?", workflow_id), None)

    def of_root(self, root_id: str) -> list[Workflow]:
        return list(self._workflows("WHERE root = ?", root_id))

    def with_status(self, *statuses: str) -> list[Workflow]:
        marks = ",".join("?" * len(statuses))
        return list(
            self._workflows(f"WHERE status IN ({marks}) ORDER BY submitted_at, id", *statuses)
        )

    def everything(self) -> list[Workflow]:
        return list(self._workflows("ORDER BY submitted_at DESC, id"))

    def _workflows(self, where: str, *values: str) -> Iterator[Workflow]:
        for row in self._db.execute(f"SELECT * FROM workflow {where}", values):
            known: tuple[str, str, str | None, str, float] = row[:5]
            yield Workflow(*known, json.loads(row[5]), json.loads(row[6]))

    def turn(self, workflow_id: str, status: str, **facts: Any) -> bool:
        """Move a workflow on to a status and merge facts; a status never goes back.

        Returns
        -------
        bool
            Whether it moved.
        """
        known = self.get(workflow_id)
        if known is None or known.status in TERMINAL:
            return False
        if _ORDER.index(status) <= _ORDER.index(known.status):
            return False
        self._db.execute(
            "UPDATE workflow SET status = ?, facts = ? WHERE id = ?",
            (status, json.dumps({**known.facts, **facts}), workflow_id),
        )
        return True

    def end(self, workflow_id: str, status: str, at: str, facts: Mapping[str, Any]) -> None:
        """Record a workflow's end; with a run ends whatever in it was still open.

        Parameters
        ----------
        at : str
            When, as metadata has it.
        """
        known = self.get(workflow_id)
        if known is None:
            return
        left = "Aborted" if status == "Aborted" else "Failed"
        family = self.of_root(workflow_id) if known.parent is None else []
        for one in family:
            self._close_calls(one.id, left, at)
            if one.parent:
                self.turn(one.id, left, end=at)
        if not self.turn(workflow_id, status, end=at, **facts):
            self.note(workflow_id, **facts)

    def _close_calls(self, workflow_id: str, left: str, at: str) -> None:
        for one in self.calls(workflow_id):
            if one.facts.get("executionStatus") not in _CALL_ENDED:
                closed = {"executionStatus": left, "end": at}
                self.note_call(workflow_id, one.fqn, one.shard, one.attempt, closed)

    def note(self, workflow_id: str, **facts: Any) -> None:
        known = self.get(workflow_id)
        if known is not None:
            self._db.execute(
                "UPDATE workflow SET facts = ? WHERE id = ?",
                (json.dumps({**known.facts, **facts}), workflow_id),
            )

    def label(self, workflow_id: str, labels: Mapping[str, str]) -> dict[str, str]:
        known = self.get(workflow_id)
        merged = {**(known.labels if known else {}), **labels}
        self._db.execute(
            "UPDATE workflow SET labels = ? WHERE id = ?", (json.dumps(merged), workflow_id)
        )
        return merged

    def note_call(
        self, workflow_id: str, fqn: str, shard: int, attempt: int, facts: Mapping[str, Any]
    ) -> None:
        """Merge facts into a call attempt's metadata.

        What it started with stays, and its status never goes back: after a restart an
        engine tells once more what it told before.
        """
        key = (workflow_id, fqn, shard, attempt)
        known = self._call(*key)
        merged = {**known, **_news(known, facts)}
        self._db.execute(
            "INSERT OR REPLACE INTO call VALUES (?,?,?,?,?)", (*key, json.dumps(merged))
        )

    def _call(self, *key: str | int) -> dict[str, Any]:
        row = self._db.execute(
            "SELECT facts FROM call WHERE workflow=? AND fqn=? AND shard=? AND attempt=?", key
        ).fetchone()
        facts: dict[str, Any] = json.loads(row[0]) if row else {}
        return facts

    def cache(self, key: str, entry: Mapping[str, Any] | None) -> None:
        """Note what calls like one that was run can be copied from; `None`: from nothing."""
        if entry is None:
            self._db.execute("DELETE FROM cache WHERE key = ?", (key,))
        else:
            self._db.execute("INSERT OR REPLACE INTO cache VALUES (?,?)", (key, json.dumps(entry)))

    def cached(self, key: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT entry FROM cache WHERE key = ?", (key,)).fetchone()
        entry: dict[str, Any] | None = json.loads(row[0]) if row else None
        return entry

    def save_job(self, job_id: str, root: str, facts: Mapping[str, Any], *, unsaid: bool) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO job VALUES (?,?,?,?)", (job_id, root, unsaid, json.dumps(facts))
        )

    def said(self, job_id: str) -> None:
        self._db.execute("UPDATE job SET unsaid = 0 WHERE id = ?", (job_id,))

    def jobs(self, where: str, *values: str) -> list[dict[str, Any]]:
        """Return the facts of jobs, by when they were submitted."""
        rows = self._db.execute(f"SELECT facts FROM job WHERE {where} ORDER BY rowid", values)
        return [json.loads(row[0]) for row in rows]

    def job_of(self, workflow_id: str, fqn: str, shard: int, attempt: int) -> str | None:
        """Return the id of a call attempt's job, if it is known to have one."""
        facts = self._call(workflow_id, fqn, shard, attempt)
        job_id: str | None = facts.get("jobId")
        return job_id

    def calls(self, workflow_id: str) -> list[Attempt]:
        """Return a workflow's call attempts, by name, shard and attempt."""
        rows = self._db.execute(
            "SELECT * FROM call WHERE workflow = ? ORDER BY fqn, shard, attempt", (workflow_id,)
        )
        return [Attempt(w, fqn, shard, n, json.loads(facts)) for w, fqn, shard, n, facts in rows]


def _news(known: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be learned of a call attempt of which something is known."""
    status = known.get("executionStatus")
    if status in _CALL_ENDED:
        # More may have failed within a sub-workflow since it was said to have failed.
        return {
            name: value for name, value in facts.items() if name not in known or name == "failures"
        }
    news = {name: value for name, value in facts.items() if name != "start" or name not in known}
    if status in _CALL_ORDER and facts.get("executionStatus") in _CALL_ORDER:
        news["executionStatus"] = max(status, facts["executionStatus"], key=_CALL_ORDER.index)
    return news

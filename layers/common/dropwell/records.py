"""How runs, jobs, calls and notices are remembered: the items of the one table, and writes to it.

======================  =======================  ==========================================
pk                      sk                       what
======================  =======================  ==========================================
run_id                  ``RUN``                  the run (`runs.Run`)
run_id                  ``COUNTS``               jobs by status, one small item
run_id                  ``JOB#<job id>``         the latest sighting of a job
run_id                  ``CALL#<call id>``       why a call failed, or that it came from cache
run_id                  ``SIG#<signature>``      how many calls failed alike, and one of them
run_id                  ``NOTICE#<kind>``        what is to be said, and whether it was
``RUNS#<year-month>``   ``<dropped at>#<run_id>``  pointers, so that runs can be listed
``BYTES#<sha256>``      run_id                   runs of the same bytes
``UNATTRIBUTED``        ``JOB#<job id>``         jobs that no run could be found for
``QUEUE#<name>``        ``NOTICE#blocked#<reason>#<window>``  that a queue is blocked
======================  =======================  ==========================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from dropwell.calls import CallId
from dropwell.jobs import JobStatus, Sighting
from dropwell.runs import Due, Origin, Run, State

Item = dict[str, Any]
Key = tuple[str, str]

RUN, COUNTS = "RUN", "COUNTS"
JOB, CALL, SIG, NOTICE = "JOB#", "CALL#", "SIG#", "NOTICE#"
UNATTRIBUTED = "UNATTRIBUTED"


class Absent(Enum):
    """Stands in an expectation for an attribute, or a whole item, that is not there."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
Expect = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole item, if what stands in its place is as expected.

    Parameters
    ----------
    item : dict
        With its ``pk`` and ``sk``.
    expect : mapping
        Attribute to the exact value it must have, or `ABSENT`; ``{"pk": ABSENT}``
        means that there must be no such item yet. Empty: write whatever is there.
    """

    item: Item
    expect: Expect = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.item["pk"], self.item["sk"]


@dataclass(frozen=True, slots=True)
class Update:
    """Change some attributes of an item, if the rest is as expected."""

    key: Key
    set: Mapping[str, Any] = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    expect: Expect = field(default_factory=dict)


Write = Put | Update

NEW: Expect = {"pk": ABSENT}


def put_run(run: Run) -> Put:
    """Return the write that keeps `run`, provided that nobody wrote since it was read."""
    expect = {"rev": run.rev} if run.rev else NEW
    return Put(_item(replace(run, rev=run.rev + 1), run.run_id, RUN), expect)


def run_of(item: Mapping[str, Any]) -> Run:
    """Return the run that an item holds; attributes we do not know are passed over."""
    values = {f.name: item[f.name] for f in fields(Run) if f.name in item}
    values["state"] = State(item["state"])
    values["origin"] = Origin(item.get("origin", Origin.DROP))
    values["due_kind"] = Due(item["due_kind"]) if item.get("due_kind") else None
    values["labels"] = tuple(sorted(item.get("labels", {}).items()))
    for name in ("warnings", "findings", "failures"):
        values[name] = tuple(item.get(name, ()))
    return Run(**values)


def _item(run: Run, pk: str, sk: str) -> Item:
    item: Item = {"pk": pk, "sk": sk}
    for attribute in fields(run):
        value = getattr(run, attribute.name)
        if value != attribute.default or attribute.default is MISSING:
            item[attribute.name] = _plain(value)
    if run.labels:
        item["labels"] = dict(run.labels)
    if run.due_kind:
        item["due_at"] = run.due_at  # 0 too: the index leaves out what lacks it
    item["state"], item["rev"] = run.state.value, run.rev
    return item


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def put_pointer(run: Run) -> Put:
    """Return the write that makes a run appear in lists."""
    return Put(
        {
            "pk": month(run.dropped_at),
            "sk": f"{run.dropped_at:012d}#{run.run_id}",
            "run_id": run.run_id,
            "project": run.project,
            "name": run.name,
        }
    )


def month(at: int) -> str:
    """Return the partition of the pointers to runs of a month.

    >>> month(1714564800)
    'RUNS#2024-05'
    """
    return f"RUNS#{datetime.fromtimestamp(at, UTC):%Y-%m}"


def put_same_bytes(run: Run) -> Put:
    """Return the write by which a later drop of the same bytes is recognised."""
    return Put({"pk": f"BYTES#{run.sha256}", "sk": run.run_id})


# Jobs and their counts


def job_key(run_id: str, job_id: str) -> Key:
    return run_id, f"{JOB}{job_id}"


def put_job(run_id: str, call_id: CallId | None, seen: Sighting, known_rank: int | None) -> Put:
    """Return the write that keeps a sighting, provided that `known_rank` still stands.

    Parameters
    ----------
    run_id : str
        The run, or `UNATTRIBUTED`.
    call_id : CallId or None
        The call it runs.
    seen : Sighting
        What to keep.
    known_rank : int or None
        The rank on record when it was read, `None` for no record.
    """
    pk, sk = job_key(run_id, seen.job_id)
    item = {
        "pk": pk,
        "sk": sk,
        "call": str(call_id) if call_id else "",
        "rank": seen.rank,
        "status": seen.status.value,
        "attempts": seen.attempts,
        "job_name": seen.job_name,
        "queue": seen.queue,
        "exit_code": seen.exit_code,
        "reason": seen.reason[:255],
        "container_reason": seen.container_reason[:255],
        "log_stream": seen.log_stream,
        "created_at_ms": seen.created_at,
        "started_at_ms": seen.started_at,
        "stopped_at_ms": seen.stopped_at,
        "vcpus": seen.vcpus,
        "memory_mib": seen.memory_mib,
        "script_url": seen.script_url,
    }
    kept = {name: value for name, value in item.items() if value not in ("", None)}
    return Put(kept, {"rank": known_rank} if known_rank is not None else NEW)


def sighting_of(item: Mapping[str, Any]) -> Sighting:
    """Return the sighting that a job's item holds."""
    return Sighting(
        job_id=item["sk"].removeprefix(JOB),
        status=JobStatus(item["status"]),
        attempts=item.get("attempts", 0),
        job_name=item.get("job_name", ""),
        queue=item.get("queue", ""),
        exit_code=item.get("exit_code"),
        reason=item.get("reason", ""),
        container_reason=item.get("container_reason", ""),
        log_stream=item.get("log_stream", ""),
        created_at=item.get("created_at_ms"),
        started_at=item.get("started_at_ms"),
        stopped_at=item.get("stopped_at_ms"),
        vcpus=item.get("vcpus", ""),
        memory_mib=item.get("memory_mib"),
        script_url=item.get("script_url", ""),
    )


def count_name(status: JobStatus | str) -> str:
    return JobStatus(status).value.lower()


def add_counts(run_id: str, moves: Iterable[tuple[str | None, str]]) -> Update:
    """Return the write that carries jobs from one count to another.

    Parameters
    ----------
    run_id : str
    moves : iterable of (status or None, status)
        Where each job was counted, `None` for a new one, and where it is now.

    Examples
    --------
    >>> dict(add_counts("r", [(None, "RUNNING"), ("RUNNING", "FAILED")]).add)
    {'jobs': 1, 'running': 0, 'failed': 1}
    """
    add: dict[str, int] = {}
    for was, now in moves:
        if was is None:
            add["jobs"] = add.get("jobs", 0) + 1
        else:
            add[count_name(was)] = add.get(count_name(was), 0) - 1
        add[count_name(now)] = add.get(count_name(now), 0) + 1
    return Update((run_id, COUNTS), add=add)


def live_jobs(counts: Mapping[str, Any]) -> int:
    """Return how many jobs have not ended yet.

    >>> live_jobs({"jobs": 5, "succeeded": 3, "failed": 1})
    1
    """
    ended = counts.get("succeeded", 0) + counts.get("failed", 0)
    return int(counts.get("jobs", 0) - ended)


def recount(items: Iterable[Item]) -> dict[str, int]:
    """Return what a run's counters must be, counted over its jobs.

    >>> recount([{"sk": "JOB#1", "status": "FAILED"}, {"sk": "RUN", "state": "RUNNING"}])
    {'jobs': 1, 'failed': 1}
    """
    counts: dict[str, int] = {}
    for item in items:
        if item["sk"].startswith(JOB):
            for name in ("jobs", item["status"].lower()):
                counts[name] = counts.get(name, 0) + 1
    return counts


# Notices


def notice_key(run_id: str, kind: str) -> Key:
    return run_id, f"{NOTICE}{kind}"


NOTICE_GRACE = 90
"""Seconds after which the sweep takes an unsaid notice in hand: the stream had its time."""


def put_notice(run_id: str, kind: str, now: int) -> Put:
    """Return the write that says once that something is to be told."""
    pk, sk = notice_key(run_id, kind)
    return Put(
        {
            "pk": pk,
            "sk": sk,
            "notice_id": f"{run_id}/{kind}",
            "at": now,
            "rev": 1,
            "due_kind": Due.NOTICE.value,
            "due_at": now + NOTICE_GRACE,
        },
        NEW,
    )

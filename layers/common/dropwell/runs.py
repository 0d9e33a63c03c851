"""What a run is, the states it passes through, and which word of Cromwell's is news."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dropwell.drops import DEFAULT_PROJECT, Drop, rejected_folder, run_folder, safe_name


class State(StrEnum):
    """GA4GH WES 1.1 run states, and REJECTED for a drop that never became a run."""

    QUEUED = "QUEUED"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELING = "CANCELING"
    COMPLETE = "COMPLETE"
    EXECUTOR_ERROR = "EXECUTOR_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        State.COMPLETE,
        State.EXECUTOR_ERROR,
        State.SYSTEM_ERROR,
        State.CANCELED,
        State.REJECTED,
    }
)

# In the order Cromwell's summary gives them: a workflow's status never goes down
# this list (WorkflowState.scala). WES names after WesState.scala.
_STATES = {
    "On Hold": State.PAUSED,
    "Submitted": State.QUEUED,
    "Running": State.RUNNING,
    "Aborting": State.CANCELING,
    "Aborted": State.CANCELED,
    "Succeeded": State.COMPLETE,
    "Failed": State.EXECUTOR_ERROR,
}
_ORDER = {status: order for order, status in enumerate(_STATES)}


class Origin(StrEnum):
    """How we came to know a run."""

    DROP = "drop"
    OBSERVED = "observed"


class Due(StrEnum):
    """What a run or a notice waits for: the partitions of the sparse index."""

    POLL = "POLL"
    SUBMIT = "SUBMIT"
    NOTICE = "NOTICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as we remember it: one item of the table.

    Times are whole seconds since 1970. ``rev`` counts the writes; every write
    names the one it read, so that of two writers one has to look again.
    """

    run_id: str
    state: State = State.QUEUED
    project: str
    name: str
    origin: Origin = Origin.DROP
    workflow: str = ""
    principal: str = ""
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    size: int = 0
    sha256: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    cause: str = ""
    dropped_at: int = 0
    tries: int = 0
    broken_off: int = 0
    unclear: int = 0
    waiting: str = ""
    waits_for: str = "Cromwell"
    notice_detail: str = ""
    submitted_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    abort_at: int = 0
    kept: bool = False
    cromwell_status: str = ""
    polls: int = 0
    unseen: int = 0
    endings: int = 0
    suspect: bool = False
    doubted_at: int = 0
    failing_at: int = 0
    due_kind: Due | None = None
    due_at: int = 0
    rev: int = 0

    @property
    def drop(self) -> Drop:
        return Drop(
            bucket=self.bucket,
            key=self.key,
            version_id=self.version_id,
            size=self.size,
            principal=self.principal,
            dropped_at=self.dropped_at,
        )

    @property
    def ours(self) -> bool:
        """Whether our Cromwell has, or had it: jobs that we only see may be another's."""
        return self.origin is Origin.DROP or bool(self.cromwell_status)

    @property
    def folder(self) -> str:
        """Key prefix of all that is kept of it."""
        place = rejected_folder if self.state is State.REJECTED else run_folder
        return place(self.project, self.name, self.run_id)

    def due(self, kind: Due | None, at: int = 0) -> Run:
        """Return the run waiting for something else, or for nothing."""
        return replace(self, due_kind=kind, due_at=at if kind else 0)


def observed(run_id: str, workflow: str, now: int) -> Run:
    """Return the run of somebody who submitted it past us, by Swagger or curl."""
    return Run(
        run_id=run_id,
        project=DEFAULT_PROJECT,
        name=safe_name(workflow or run_id),
        origin=Origin.OBSERVED,
        workflow=workflow,
        dropped_at=now,
        submitted_at=now,
        kept=True,
    ).due(Due.POLL, now + 5)


def state_of(status: str) -> State | None:
    """Return the WES state for Cromwell's word, `None` for a word we do not know.

    >>> state_of("Succeeded").value, state_of("Meditating")
    ('COMPLETE', None)
    """
    return _STATES.get(status)


def heard(run: Run, status: str, now: int) -> Run | None:
    """Return the run after Cromwell said how it is, `None` when that is no news.

    Answers may overtake one another, but a workflow only moves forward through
    Cromwell's statuses; an answer that is not further along than the one on
    record is old. A run that somebody asked to abort is CANCELING until Cromwell
    says how it ended.

    Parameters
    ----------
    run : Run
        As it is on record.
    status : str
        Cromwell's word.
    now : int
        When it was said.

    Examples
    --------
    >>> run = Run(run_id="r", project="p", name="n", cromwell_status="Running",
    ...           state=State.RUNNING)
    >>> heard(run, "Succeeded", 60).state.value
    'COMPLETE'
    >>> heard(run, "Submitted", 60) is None
    True
    """
    state = state_of(status)
    if state is None or run.state.terminal:
        return None
    if _ORDER[status] <= _ORDER.get(run.cromwell_status, -1):
        return None
    if run.abort_at and not state.terminal:
        state = State.CANCELING
    return replace(
        run,
        state=state,
        cromwell_status=status,
        started_at=run.started_at or _started(run, state, now),
        ended_at=now if state.terminal else 0,
        unseen=0,
    )


def _started(run: Run, state: State, now: int) -> int:
    """Return when a run began, as far as we saw: one that ended between two polls, when posted."""
    if state.terminal:
        return run.submitted_at
    return now if state is State.RUNNING else 0


_SOON = (5, 10, 20, 40, 60)
SELDOM = 600

SILENT_AFTER = 7200
"""Seconds without a job after which a run that runs is silent; what Cromwell does by itself
at a run's end, such as copying its outputs, seldom takes as long."""


def silent(run: Run, live: int, now: int) -> bool:
    """Say whether nothing moves in a run that Cromwell says is running.

    While it has no job with Batch, a run is polled each minute, and its count of
    polls begins anew when a job ends. So the count tells, without another read,
    for how long there was none: Cromwell hangs on the run, or Batch's events do
    not reach us.

    Parameters
    ----------
    run : Run
        As it is on record.
    live : int
        Its jobs that have not ended.
    now : int
        Seconds since 1970.

    Examples
    --------
    >>> run = Run(run_id="r", project="p", name="n", state=State.RUNNING, started_at=60, polls=125)
    >>> silent(run, 0, 7260), silent(run, 1, 7260), silent(replace(run, polls=5), 0, 7260)
    (True, False, False)
    """
    long = run.polls * _SOON[-1] >= SILENT_AFTER and now - run.started_at >= SILENT_AFTER
    return run.state is State.RUNNING and live <= 0 and long


def next_poll(polls: int) -> int:
    """Return in how many seconds to ask Cromwell again: soon at first, then each minute.

    Cromwell may notice the end of a job minutes after Batch told us (its own
    polling backs off to five minutes), and takes a while more to finalise.

    >>> [next_poll(n) for n in range(7)]
    [5, 10, 20, 40, 60, 60, 60]
    """
    return _SOON[min(polls, len(_SOON) - 1)]


def next_try(tries: int) -> int:
    """Return in how many seconds to post again while Cromwell is away: 30 s to 10 min.

    >>> [next_try(n) for n in (1, 2, 3, 9)]
    [30, 60, 120, 600]
    """
    return int(min(30 * 2 ** max(tries - 1, 0), 600))

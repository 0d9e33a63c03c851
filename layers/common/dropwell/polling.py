"""From Cromwell's word on a run to its state: asked when a run is due, and swept each minute.

How a run ended only Cromwell knows. Its answer turns the state, together with
the notice that tells of it, once everything the run leaves behind is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dropwell import ledger
from dropwell.errors import CromwellAway, DropwellError, Final, TryAgain, UnknownRun
from dropwell.jobs import JobStatus
from dropwell.notices import Kind
from dropwell.ports import FailedCall, Table
from dropwell.records import COUNTS, JOB, live_jobs
from dropwell.reports import failed_calls_page, outputs_page, status_page
from dropwell.runs import SELDOM, Due, Run, State, heard, next_poll, silent
from dropwell.submission import pass_on_abort
from dropwell.tracking import DOUBT_EVERY, Heard, Watch, track

_LOST_AFTER = 2
_UNSEEN_AGAIN = 30
_MOST_ENDINGS = 4
_NOTICES_A_SECOND = 5
"""SNS suspends an address that is sent more than ten mails a second; the stream speaks as well."""

_MOST_DESCRIBED = 1000
"""Jobs that Batch is asked about when a run has ended: ten requests, a second or two."""

_AT_LENGTH = 60
"""Seconds that asking for what a run leaves behind may take: the function's timeout."""


def _always() -> bool:
    return True


@dataclass(slots=True)
class Polled:
    """What came of asking Cromwell how runs are.

    Parameters
    ----------
    turned : dict
        The runs that changed, and to what state.
    silent : list of str
        Those that run, says Cromwell, and of which nothing has moved for long (`runs.silent`).
    put_off : dict
        Those that could not be asked about now, and why.
    """

    turned: dict[str, State] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    put_off: dict[str, str] = field(default_factory=dict)


def poll(
    run_ids: Sequence[str], watch: Watch, *, now: int, time_left: Callable[[], bool] = _always
) -> Polled:
    """Ask Cromwell how runs are, and turn those whose answer is news.

    Parameters
    ----------
    run_ids : sequence of str
        Those that were found due; each is asked about only if it still is.
    watch : Watch
        What to work with.
    now : int
        Seconds since 1970.
    time_left : callable
        Whether there is time to ask about one more run; the others stay due.

    Raises
    ------
    CromwellAway
        Nothing was learned; what is due stays due.
    """
    runs = [
        run
        for run in ledger.load_many(watch.table, run_ids).values()
        if run.due_kind is Due.POLL and run.due_at <= now
    ]
    polled = Polled()
    if not runs:
        return polled
    statuses = watch.cromwell.statuses([run.run_id for run in runs])
    for run in runs:
        if not time_left():
            break
        try:
            _poll_one(run, statuses.get(run.run_id), watch, now, polled)
        except DropwellError as problem:
            polled.put_off[run.run_id] = f"{type(problem).__name__}: {problem}"
            _put_off(run, watch.table, now)
    return polled


def _put_off(run: Run, table: Table, now: int) -> None:
    """Ask about a run later, so that one which cannot be asked about holds up no other."""

    def later(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        wait = next_poll(known.polls)
        return replace(known, polls=known.polls + 1).due(Due.POLL, now + wait)

    ledger.change(table, run, later)


def _poll_one(run: Run, status: str | None, watch: Watch, now: int, polled: Polled) -> None:
    if status is None:
        try:
            status = watch.cromwell.status(run.run_id)
        except UnknownRun:
            return _unseen(run, watch, now, polled)
    turned = heard(run, status, now)
    if turned and turned.state.terminal:
        return _end(run, status, watch, now, polled)
    if run.abort_at and status != "Aborting":
        pass_on_abort(run, watch.cromwell)
    if run.suspect and not run.failing_at and run.doubted_at + DOUBT_EVERY <= now:
        run = _doubt(run, watch, now)
    return _stay(run, status, watch, now, polled)


def _stay(run: Run, status: str, watch: Watch, now: int, polled: Polled) -> None:
    """Record that a run goes on, and when to ask again."""
    live = live_jobs(watch.table.get((run.run_id, COUNTS)) or {})
    wait = SELDOM if live > 0 and not run.suspect and not run.abort_at else next_poll(run.polls)

    def stayed(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        turned = heard(known, status, now) or known
        return replace(turned, polls=known.polls + 1, unseen=0).due(Due.POLL, now + wait)

    before = run.state
    run, _ = ledger.change(watch.table, run, stayed)
    if wait <= next_poll(99):
        watch.wakeups.send({"poll": run.run_id}, delay=wait)
    if silent(run, live, now):
        polled.silent.append(run.run_id)
    if run.state is not before:
        polled.turned[run.run_id] = run.state
        watch.inbox.put(run.folder + "status.json", status_page(run))


def _unseen(run: Run, watch: Watch, now: int, polled: Polled) -> None:
    """Record that Cromwell does not know a run: not yet, or not any more."""
    in_time = now < run.submitted_at + watch.visible_after
    if not in_time and run.unseen + 1 >= _LOST_AFTER:
        return _lost(run, watch, now, polled)

    def unseen(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        count = known.unseen if in_time else run.unseen + 1
        return replace(known, unseen=count).due(Due.POLL, now + _UNSEEN_AGAIN)

    ledger.change(watch.table, run, unseen)
    watch.wakeups.send({"poll": run.run_id}, delay=_UNSEEN_AGAIN)


def _lost(run: Run, watch: Watch, now: int, polled: Polled) -> None:
    def lost(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        return replace(
            known, state=State.SYSTEM_ERROR, cause="LOST_UPSTREAM", ended_at=now, suspect=False
        ).due(None)

    # Of a run that another Cromwell has, which shares the queue, nobody need hear.
    notice = Kind.ENDED if run.ours else ""
    run, changed = ledger.change(watch.table, run, lost, notice=notice, now=now)
    if changed:
        polled.turned[run.run_id] = run.state
    watch.inbox.put(run.folder + "status.json", status_page(run))


def _doubt(run: Run, watch: Watch, now: int) -> Run:
    """Tell of the first failure that Cromwell will not retry, while the run still goes on.

    A failed job is not a failed call: Cromwell may be about to run it again.
    """

    def begun(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        return replace(known, doubted_at=now).due(Due.POLL, now + _AT_LENGTH)

    # Noted first: whoever dies over a long answer holds up no other run by it.
    run, _ = ledger.change(watch.table, run, begun)
    calls = _told(lambda: watch.cromwell.failed_jobs(run.run_id), "which calls failed", [])
    lasting = [call for call in calls or () if call.lasting]

    def doubted(known: Run) -> Run | None:
        if known.state.terminal or known.failing_at or not lasting:
            return None
        messages = _messages(lasting)
        return replace(known, failing_at=now, suspect=False, failures=messages)

    notice = Kind.FAILING if lasting else ""
    return ledger.change(watch.table, run, doubted, notice=notice, now=now)[0]


def _end(run: Run, status: str, watch: Watch, now: int, polled: Polled) -> None:
    """Save what a run leaves behind, then turn its state together with its notice.

    Cromwell may need longer to tell than there is time, again and again. So each
    try is counted before it is made, and after a few the run ends without.
    """

    def begun(known: Run) -> Run | None:
        if known.state.terminal or known.due_at > now:  # another is at it
            return None
        return replace(known, endings=known.endings + 1).due(Due.POLL, now + _AT_LENGTH)

    run, mine = ledger.change(watch.table, run, begun)
    if not mine:
        return
    ended = heard(run, status, now)
    left = _save(run, ended.state if ended else run.state, watch)

    def turned(known: Run) -> Run | None:
        news = heard(known, status, now)
        if news is None:
            return None
        warnings = (*known.warnings, *left.untold)
        return replace(
            news, failures=left.failures, warnings=warnings, suspect=False, endings=0
        ).due(None)

    run, changed = ledger.change(watch.table, run, turned, notice=Kind.ENDED, now=now)
    if changed:
        polled.turned[run.run_id] = run.state
    watch.inbox.put(run.folder + "status.json", status_page(run))
    _hear_out(run, left.calls, watch, now)


@dataclass(slots=True)
class _Left:
    """What a run leaves behind: why it failed, its failed calls, what Cromwell could not tell."""

    failures: tuple[str, ...] = ()
    calls: Sequence[FailedCall] = ()
    untold: list[str] = field(default_factory=list)


def _save(run: Run, state: State, watch: Watch) -> _Left:
    """Save outputs or failed calls where people look, as far as Cromwell can tell them."""
    cromwell, left = watch.cromwell, _Left()
    if run.endings > _MOST_ENDINGS:
        what = "the outputs" if state is State.COMPLETE else "which calls failed"
        left.untold.append(f"Cromwell could not tell {what}: it did not within {_AT_LENGTH} s")
        return left
    if state is State.COMPLETE:
        outputs = _told(lambda: cromwell.outputs(run.run_id), "the outputs", left.untold)
        if outputs is not None:
            watch.inbox.put(run.folder + "outputs.json", outputs_page(outputs))
    if state is not State.EXECUTOR_ERROR:
        return left
    calls = _told(lambda: cromwell.failed_jobs(run.run_id), "which calls failed", left.untold)
    if calls is not None:
        watch.inbox.put(run.folder + "failures/calls.json", failed_calls_page(calls))
        left.calls = calls
    failures = _told(lambda: cromwell.failures(run.run_id), "why the run failed", left.untold)
    left.failures = _short(failures or ()) or _messages(left.calls)
    return left


def _hear_out(run: Run, failed: Sequence[FailedCall], watch: Watch, now: int) -> None:
    """Ask Batch how those jobs ended of whose end no event has told.

    Events get lost, and what is said of the run waits for what is known of its
    jobs. Done once its end is on record: nothing here may hold that up.
    """
    if not failed and live_jobs(watch.table.get((run.run_id, COUNTS)) or {}) <= 0:
        return
    ended = {
        item["sk"].removeprefix(JOB): JobStatus(item["status"]).terminal
        for item in watch.table.query(run.run_id, JOB)
    }
    ended |= {call.job_id: False for call in failed if call.job_id and call.job_id not in ended}
    unheard = [job_id for job_id, known in ended.items() if not known][:_MOST_DESCRIBED]
    try:
        described = watch.jobs.describe(unheard) if unheard else {}
        track([Heard(job_id, seen) for job_id, seen in described.items()], watch, now=now)
    except TryAgain:
        return  # what is said of the run waits its while, and then goes without


_Answer = TypeVar("_Answer")


def _told(ask: Callable[[], _Answer], what: str, untold: list[str]) -> _Answer | None:
    """Return what Cromwell answers, or note that it could not tell.

    What it cannot tell now, because it is too much, it will not tell later
    either; that must not keep a run from ending.
    """
    try:
        return ask()
    except Final as problem:
        untold.append(f"Cromwell could not tell {what}: {problem}"[:500])
        return None


def _messages(calls: Sequence[FailedCall]) -> tuple[str, ...]:
    return _short(message for call in calls for message in call.messages[-1:])


def _short(messages: Iterable[str]) -> tuple[str, ...]:
    return tuple(message[:500] for message in dict.fromkeys(messages))[:5]


# The sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found due, and what came of its polls.

    Parameters
    ----------
    posts_due, notices_due, polls_due : int
        How many of each kind.
    cromwell_away : bool
        Whether Cromwell did not answer.
    polled : Polled
        Empty where it did not.
    """

    posts_due: int
    notices_due: int
    polls_due: int
    cromwell_away: bool
    polled: Polled


def sweep(
    watch: Watch, *, now: int, most: int = 500, time_left: Callable[[], bool] = _always
) -> Swept:
    """Find what is due and nobody told us of: polls, posts, notices.

    Parameters
    ----------
    watch : Watch
        What to work with.
    now : int
        Seconds since 1970.
    most : int
        How many of each kind to take in one pass.
    time_left : callable
        See `poll`.
    """
    submits = watch.table.due(Due.SUBMIT, now, most)
    notices = watch.table.due(Due.NOTICE, now, min(most, 60 * _NOTICES_A_SECOND))
    polls = watch.table.due(Due.POLL, now, most)
    watch.drops.send(*({"submit": run_id} for run_id, _ in submits))
    for start in range(0, len(notices), _NOTICES_A_SECOND):
        chunk = notices[start : start + _NOTICES_A_SECOND]
        watch.diagnoses.send(
            *({"notice": {"run_id": run_id, "sk": sk}} for run_id, sk in chunk),
            delay=start // _NOTICES_A_SECOND,
        )
    away, polled = False, Polled()
    try:
        polled = poll([run_id for run_id, _ in polls], watch, now=now, time_left=time_left)
    except CromwellAway:
        away = True
    return Swept(
        posts_due=len(submits),
        notices_due=len(notices),
        polls_due=len(polls),
        cromwell_away=away,
        polled=polled,
    )

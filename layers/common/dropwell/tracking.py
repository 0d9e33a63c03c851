"""From what Batch says of jobs, and Cromwell of runs, to what is true of each.

Sightings come in batches, late, twice and out of order; only a later one than
that on record is kept, and a run's counters move in the same transaction as its
jobs. How a run ended only Cromwell knows: its answer turns the state, together
with the notice that tells of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, TypeVar

from dropwell import ledger
from dropwell.calls import CallId, CallPlace, call_of_tags, place_of_script
from dropwell.drops import DEFAULT_PROJECT, safe_name
from dropwell.errors import CromwellAway, Final, Missing, Superseded, TooLarge, TryAgain, UnknownRun
from dropwell.jobs import JobStatus, Sighting, later
from dropwell.notices import Kind
from dropwell.ports import Bucket, Cromwell, FailedCall, Jobs, Queue, Table
from dropwell.records import (
    COUNTS,
    JOB,
    RUN,
    UNATTRIBUTED,
    Item,
    Key,
    add_counts,
    job_key,
    live_jobs,
    put_job,
    run_of,
)
from dropwell.reports import failed_calls_page, outputs_page, status_page
from dropwell.runs import SELDOM, Due, Origin, Run, State, heard, next_poll
from dropwell.submission import pass_on_abort

JOBS_A_TRANSACTION = 99
"""A transaction takes 100 writes: these, and the counters."""

_ROUNDS = 12
_SOON = 5
_DOUBT_EVERY = 60
_LOST_AFTER = 2
_UNSEEN_AGAIN = 30
_SCRIPT_LIMIT = 8 << 20
_FAILED_A_MESSAGE = 25
_PLACES_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Heard:
    """A sighting and the message that brought it."""

    message_id: str
    sighting: Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the watcher works with.

    Parameters
    ----------
    table, inbox, cromwell, jobs
        The adapters.
    scripts : callable
        The bucket of a name, to read Cromwell's scripts from.
    wakeups, diagnoses, drops : Queue
        Where to ask for a poll, for a look at failed jobs, for a drop once more.
    visible_after : int
        Seconds after a submission in which Cromwell may not show the run.
    places : dict
        The calls of the scripts read so far. A script is named by the hash of
        its text (AwsBatchJob.scala), so what it says once it says for good, and
        is read once and not for each sighting of its job.
    """

    table: Table
    inbox: Bucket
    scripts: Bucket
    cromwell: Cromwell
    jobs: Jobs
    wakeups: Queue
    diagnoses: Queue
    drops: Queue
    visible_after: int
    places: dict[str, CallPlace] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What a batch of sightings came to; the dull outcomes are counted too."""

    kept: int = 0
    stale: int = 0
    unattributed: int = 0
    failed_messages: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sighting with its run and its call; without them it is unattributed."""

    heard: Heard
    run_id: str
    run_name: str
    call_id: CallId | None


# Sightings


def track(batch: Sequence[Heard], watch: Watch, *, now: int) -> Tally:
    """Keep what a batch of sightings adds to what is known.

    Parameters
    ----------
    batch : sequence of Heard
        In any order, with duplicates.
    watch : Watch
        What to work with.
    now : int
        Seconds since 1970.

    Returns
    -------
    Tally
        ``failed_messages`` names those that are to be delivered again.
    """
    tally = Tally()
    runs: dict[str, list[_Placed]] = {}
    for placed in _placed(batch, watch, tally):
        runs.setdefault(placed.run_id, []).append(placed)
    # What is on record is read for all runs at once: many small runs together
    # then cost little more than a large one.
    jobs = _jobs_on_record([one for group in runs.values() for one in group], watch.table)
    kept: dict[str, list[_Placed]] = {}
    for run_id, group in runs.items():
        with _delivered_again_if_it_must(group, tally):
            _track_jobs(run_id, group, jobs, watch.table, tally)
            if run_id != UNATTRIBUTED:
                kept[run_id] = group
    items = watch.table.get_many((run_id, sk) for run_id in kept for sk in (RUN, COUNTS))
    for run_id, group in kept.items():
        with _delivered_again_if_it_must(group, tally):
            _consequences(run_id, group, items, watch, now=now)
    return tally


@contextmanager
def _delivered_again_if_it_must(group: Sequence[_Placed], tally: Tally) -> Iterator[None]:
    try:
        yield
    except TryAgain:
        tally.failed_messages.update(placed.heard.message_id for placed in group)


def _placed(batch: Sequence[Heard], watch: Watch, tally: Tally) -> Iterator[_Placed]:
    """Find each sighting's call: by its tags, by its script, by asking Batch. Never by its name."""
    asked = []
    for one in batch:
        if placed := _by_tags(one, one.sighting.tags) or _by_script(one, one.sighting, watch):
            yield placed
        else:
            asked.append(one)
    if not asked:
        return
    described = watch.jobs.describe(list({one.sighting.job_id for one in asked}))
    for one in asked:
        known = described.get(one.sighting.job_id)
        placed = None
        if known:
            placed = _by_tags(one, known.tags) or _by_script(one, known, watch)
        tally.unattributed += placed is None
        yield placed or _Placed(one, UNATTRIBUTED, "", None)


def _by_tags(one: Heard, tags: Iterable[tuple[str, str]]) -> _Placed | None:
    tagged = call_of_tags(dict(tags))
    return _Placed(one, tagged.run_id, tagged.run_name, tagged.call_id) if tagged else None


def _by_script(one: Heard, seen: Sighting, watch: Watch) -> _Placed | None:
    place = watch.places.get(seen.script_url) or _place_in_script(seen.script_url, watch)
    return _Placed(one, place.run_id, place.run_name, place.call_id) if place else None


def _place_in_script(url: str, watch: Watch) -> CallPlace | None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if bucket != watch.scripts.name or not key:
        return None
    try:
        script = watch.scripts.read(key, limit=_SCRIPT_LIMIT)
    except (Missing, TooLarge):
        return None
    place = place_of_script(script.decode(errors="replace"))
    if place:
        if len(watch.places) >= _PLACES_KEPT:
            watch.places.clear()
        watch.places[url] = place
    return place


def _jobs_on_record(placed: Iterable[_Placed], table: Table) -> dict[Key, Item]:
    """Return how far the jobs had come, and where they are counted."""
    keys = (job_key(one.run_id, one.heard.sighting.job_id) for one in placed)
    return table.get_many(keys, only=("rank", "status"))


def _track_jobs(
    run_id: str,
    group: Sequence[_Placed],
    known: dict[Key, Item],
    table: Table,
    tally: Tally,
) -> None:
    latest: dict[str, _Placed] = {}
    for placed in group:
        job_id = placed.heard.sighting.job_id
        latest[job_id] = reduce(_later, [placed], latest.get(job_id, placed))
    news: list[_Placed] = []
    every = list(latest.values())
    for start in range(0, len(every), JOBS_A_TRANSACTION):
        news += _keep_later(run_id, every[start : start + JOBS_A_TRANSACTION], known, table)
    tally.kept += len(news)
    tally.stale += len(group) - len(news)


def _later(known: _Placed, heard: _Placed) -> _Placed:
    return (
        heard
        if later(known.heard.sighting, heard.heard.sighting) is heard.heard.sighting
        else known
    )


def _keep_later(
    run_id: str, placed: Sequence[_Placed], known: dict[Key, Item], table: Table
) -> list[_Placed]:
    """Write those sightings that are later than the ones on record; return them.

    The counters move in the same transaction, and every job's write holds only
    while the rank that was read still stands; so the counters always equal a
    recount. When another writer was there first, all is read again.
    """
    for _ in range(_ROUNDS):
        news, writes, moves = [], [], []
        for one in placed:
            seen = one.heard.sighting
            item = known.get(job_key(run_id, seen.job_id))
            if item and item["rank"] >= seen.rank:
                continue
            news.append(one)
            writes.append(put_job(run_id, one.call_id, seen, item["rank"] if item else None))
            moves.append((item["status"] if item else None, seen.status.value))
        if not news:
            return []
        try:
            table.write(*writes, add_counts(run_id, moves))
        except Superseded:
            known = _jobs_on_record(placed, table)
            continue
        return news
    raise Superseded(f"the jobs of run {run_id} are written by many at once")


def _consequences(
    run_id: str,
    group: Sequence[_Placed],
    items: dict[Key, Item],
    watch: Watch,
    *,
    now: int,
) -> None:
    """Make the run due for what its jobs' news calls for, and have failures looked at.

    Also done for sightings that were no news: an earlier delivery may have
    written them and died here.
    """
    item = items.get((run_id, RUN))
    run = run_of(item) if item else ledger.create(watch.table, _observed(run_id, group, now))
    live = live_jobs(items.get((run_id, COUNTS)) or {})
    failed = [one for one in group if one.heard.sighting.status is JobStatus.FAILED]
    if failed:
        watch.diagnoses.send(*_diagnosis_messages(run_id, failed))
    if run.state.terminal or not run.submitted_at:
        return
    wanted = _wanted_poll(run, group, live, bool(failed), now)

    def moved(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        # A job of it is with Batch, so its workflow runs, whatever the summary says yet.
        moving = heard(known, "Running", now) or known
        sooner = replace(moving, suspect=known.suspect or bool(failed))
        if wanted < known.due_at or sooner.suspect != known.suspect:
            sooner = replace(sooner, polls=0).due(Due.POLL, min(wanted, known.due_at))
        return sooner if sooner != known else None

    turned, changed = ledger.change(watch.table, run, moved)
    if changed and wanted <= turned.due_at:
        watch.wakeups.send({"poll": run_id}, delay=max(wanted - now, 0))
    if turned.state is not run.state:
        watch.inbox.put(turned.folder + "status.json", status_page(turned))


def _wanted_poll(run: Run, group: Sequence[_Placed], live: int, failed: bool, now: int) -> int:
    """Return when Cromwell is to be asked because of what these jobs did."""
    ended = any(one.heard.sighting.status.terminal for one in group)
    if ended and live <= 0:
        return now + _SOON
    if failed:
        return max(now + _SOON, run.doubted_at + _DOUBT_EVERY)
    return now + SELDOM


def _observed(run_id: str, group: Sequence[_Placed], now: int) -> Run:
    """Return the run of somebody who submitted it past us, by Swagger or curl."""
    workflow = next((one.run_name for one in group if one.run_name), "")
    return observed_run(run_id, workflow, now)


def observed_run(run_id: str, workflow: str, now: int) -> Run:
    return Run(
        run_id=run_id,
        project=DEFAULT_PROJECT,
        name=safe_name(workflow or run_id),
        origin=Origin.OBSERVED,
        workflow=workflow,
        dropped_at=now,
        submitted_at=now,
        kept=True,
    ).due(Due.POLL, now + _SOON)


def _diagnosis_messages(run_id: str, failed: Sequence[_Placed]) -> Iterator[dict[str, Any]]:
    """Yield the messages that have failed jobs looked at: several jobs to a message."""
    for start in range(0, len(failed), _FAILED_A_MESSAGE):
        job_ids = sorted({one.heard.sighting.job_id for one in failed[start:][:_FAILED_A_MESSAGE]})
        yield {"failed": {"run_id": run_id, "job_ids": job_ids}}


# Polls


def poll(run_ids: Sequence[str], watch: Watch, *, now: int) -> int:
    """Ask Cromwell how runs are, and turn those whose answer is news.

    Parameters
    ----------
    run_ids : sequence of str
        Those that were found due; each is asked about only if it still is.
    watch : Watch
        What to work with.
    now : int
        Seconds since 1970.

    Returns
    -------
    int
        How many runs changed.

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
    if not runs:
        return 0
    statuses = watch.cromwell.statuses([run.run_id for run in runs])
    return sum(_poll_one(run, statuses.get(run.run_id), watch, now) for run in runs)


def _poll_one(run: Run, status: str | None, watch: Watch, now: int) -> bool:
    if status is None:
        try:
            status = watch.cromwell.status(run.run_id)
        except UnknownRun:
            return _unseen(run, watch, now)
    turned = heard(run, status, now)
    if turned and turned.state.terminal:
        return _end(run, status, watch, now)
    if run.abort_at and status != "Aborting":
        pass_on_abort(run, watch.cromwell)
    if run.suspect and not run.failing_at and run.doubted_at + _DOUBT_EVERY <= now:
        run = _doubt(run, watch, now)
    return _stay(run, status, watch, now)


def _stay(run: Run, status: str, watch: Watch, now: int) -> bool:
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
    if run.state is not before:
        watch.inbox.put(run.folder + "status.json", status_page(run))
    return run.state is not before


def _unseen(run: Run, watch: Watch, now: int) -> bool:
    """Record that Cromwell does not know a run: not yet, or not any more."""
    in_time = now < run.submitted_at + watch.visible_after
    if not in_time and run.unseen + 1 >= _LOST_AFTER:
        return _lost(run, watch, now)

    def unseen(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        count = known.unseen if in_time else run.unseen + 1
        return replace(known, unseen=count).due(Due.POLL, now + _UNSEEN_AGAIN)

    ledger.change(watch.table, run, unseen)
    watch.wakeups.send({"poll": run.run_id}, delay=_UNSEEN_AGAIN)
    return False


def _lost(run: Run, watch: Watch, now: int) -> bool:
    def lost(known: Run) -> Run | None:
        if known.state.terminal:
            return None
        return replace(
            known, state=State.SYSTEM_ERROR, cause="LOST_UPSTREAM", ended_at=now, suspect=False
        ).due(None)

    run, changed = ledger.change(watch.table, run, lost, notice=Kind.ENDED, now=now)
    watch.inbox.put(run.folder + "status.json", status_page(run))
    return changed


def _doubt(run: Run, watch: Watch, now: int) -> Run:
    """Tell of the first failure that Cromwell will not retry, while the run still goes on.

    A failed job is not a failed call: Cromwell may be about to run it again.
    """
    calls = _told(lambda: watch.cromwell.failed_jobs(run.run_id), "which calls failed", [])
    lasting = [call for call in calls or () if call.lasting]

    def doubted(known: Run) -> Run | None:
        if known.state.terminal or known.failing_at:
            return None
        if not lasting:
            return replace(known, doubted_at=now)
        messages = _messages(lasting)
        return replace(known, doubted_at=now, failing_at=now, suspect=False, failures=messages)

    notice = Kind.FAILING if lasting else ""
    return ledger.change(watch.table, run, doubted, notice=notice, now=now)[0]


def _end(run: Run, status: str, watch: Watch, now: int) -> bool:
    """Save what a run leaves behind, then turn its state together with its notice."""
    ended = heard(run, status, now)
    failures, untold = _save(run, ended.state if ended else run.state, watch)

    def turned(known: Run) -> Run | None:
        news = heard(known, status, now)
        if news is None:
            return None
        warnings = (*known.warnings, *untold)
        return replace(news, failures=failures, warnings=warnings, suspect=False).due(None)

    run, changed = ledger.change(watch.table, run, turned, notice=Kind.ENDED, now=now)
    watch.inbox.put(run.folder + "status.json", status_page(run))
    return changed


def _save(run: Run, state: State, watch: Watch) -> tuple[tuple[str, ...], list[str]]:
    """Save outputs or failed calls; return why the run failed, and what Cromwell could not tell."""
    cromwell, untold = watch.cromwell, list[str]()
    if state is State.COMPLETE:
        outputs = _told(lambda: cromwell.outputs(run.run_id), "the outputs", untold)
        if outputs is not None:
            watch.inbox.put(run.folder + "outputs.json", outputs_page(outputs))
    if state is not State.EXECUTOR_ERROR:
        return (), untold
    calls = _told(lambda: cromwell.failed_jobs(run.run_id), "which calls failed", untold)
    if calls is not None:
        watch.inbox.put(run.folder + "failures/calls.json", failed_calls_page(calls))
    failures = _told(lambda: cromwell.failures(run.run_id), "why the run failed", untold)
    return _short(failures or ()) or _messages(calls or ()), untold


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


def sweep(watch: Watch, *, now: int, most: int = 500) -> Mapping[str, int]:
    """Find what is due and nobody told us of: polls, posts, notices.

    Parameters
    ----------
    watch : Watch
        What to work with.
    now : int
        Seconds since 1970.
    most : int
        How many of each kind to take in one pass.

    Returns
    -------
    mapping
        How many of each kind were due, and how many runs changed.
    """
    submits = watch.table.due(Due.SUBMIT, now, most)
    notices = watch.table.due(Due.NOTICE, now, most)
    polls = watch.table.due(Due.POLL, now, most)
    watch.drops.send(*({"submit": run_id} for run_id, _ in submits))
    watch.diagnoses.send(
        *({"notice": {"run_id": run_id, "sk": sk}} for run_id, sk in notices), delay=0
    )
    try:
        turned = poll([run_id for run_id, _ in polls], watch, now=now)
    except CromwellAway:
        turned = -1
    return {
        "posts_due": len(submits),
        "notices_due": len(notices),
        "polls_due": len(polls),
        "runs_turned": max(turned, 0),
        "cromwell_away": int(turned < 0),
    }


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

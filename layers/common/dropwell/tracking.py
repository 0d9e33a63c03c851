"""From what Batch says of jobs to what is true of each, and of their runs.

Sightings come in batches, late, twice and out of order; only a later one than
that on record is kept, and a run's counters move in the same transaction as its
jobs. How a run ended only Cromwell knows: `polling` asks it, when what is told
here makes a run due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from dropwell import ledger
from dropwell.blockages import Blockage, put_blocked
from dropwell.calls import CallId, CallPlace, call_of_tags, place_of_script
from dropwell.errors import Missing, Superseded, TooLarge, TryAgain
from dropwell.jobs import JobStatus, Sighting, later
from dropwell.ports import Bucket, Cromwell, Jobs, Queue, Table
from dropwell.records import (
    COUNTS,
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
from dropwell.reports import status_page
from dropwell.runs import SELDOM, Due, Run, heard, observed

JOBS_A_TRANSACTION = 99
"""A transaction takes 100 writes: these, and the counters."""

DOUBT_EVERY = 60
"""Seconds that at least lie between two questions about a run's failed calls."""

_ROUNDS = 12
_SOON = 5
_SCRIPT_LIMIT = 8 << 20
_FAILED_A_MESSAGE = 10
"""The router takes ten messages at once, and a fifth of a second a job: half of its minute."""

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
    """What a batch of sightings came to; the dull outcomes are counted too.

    Parameters
    ----------
    kept, stale : int
        What was later than what was known, and what was not.
    strays : list of str
        The jobs whose call is not known.
    moved : dict
        For each run, how many of its jobs came to which status.
    failed_messages : set of str
        Those that are to be delivered again.
    """

    kept: int = 0
    stale: int = 0
    strays: list[str] = field(default_factory=list)
    moved: dict[str, Counter[JobStatus]] = field(default_factory=dict)
    failed_messages: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class HeardBlocked:
    """What Batch said of a blocked queue, and the message that brought it."""

    message_id: str
    blockage: Blockage


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sighting with its run and its call; without them it is unattributed."""

    heard: Heard
    run_id: str
    run_name: str
    call_id: CallId | None


# Queues


def track_blocked(batch: Sequence[HeardBlocked], table: Table, *, now: int) -> Tally:
    """Record that queues are blocked: one notice for each queue, reason and window.

    Parameters
    ----------
    batch : sequence of HeardBlocked
        In any order, with duplicates; Batch says it of every job that it finds stuck.
    table : Table
        Where notices are remembered.
    now : int
        Seconds since 1970.

    Returns
    -------
    Tally
        `kept` counts the notices, `stale` what had been said before.
    """
    tally = Tally()
    alike: dict[str, list[HeardBlocked]] = {}
    for one in batch:
        alike.setdefault(one.blockage.notice_id, []).append(one)
    for group in alike.values():
        tally.stale += len(group) - 1
        try:
            table.write(put_blocked(group[0].blockage, now))
        except Superseded:
            tally.stale += 1
        except TryAgain:
            tally.failed_messages |= {one.message_id for one in group}
        else:
            tally.kept += 1
    return tally


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
        if placed is None:
            tally.strays.append(one.sighting.job_id)
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
    if news and run_id != UNATTRIBUTED:
        tally.moved[run_id] = Counter(placed.heard.sighting.status for placed in news)
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
        moving = (known.ours and heard(known, "Running", now)) or known
        sooner = replace(moving, suspect=known.suspect or bool(failed))
        if wanted < known.due_at or sooner.suspect != known.suspect:
            sooner = replace(sooner, polls=0).due(Due.POLL, min(wanted, known.due_at))
        return sooner if sooner != known else None

    turned, changed = ledger.change(watch.table, run, moved)
    if turned.state.terminal:
        return
    # A run may be due sooner than that with nobody on the way to ask, as a new one is.
    if wanted == now + _SOON or (changed and wanted <= turned.due_at):
        watch.wakeups.send({"poll": run_id}, delay=max(wanted - now, 0))
    if turned.state is not run.state:
        watch.inbox.put(turned.folder + "status.json", status_page(turned))


def _wanted_poll(run: Run, group: Sequence[_Placed], live: int, failed: bool, now: int) -> int:
    """Return when Cromwell is to be asked because of what these jobs did."""
    ended = any(one.heard.sighting.status.terminal for one in group)
    if ended and live <= 0:
        return now + _SOON
    if failed:
        return max(now + _SOON, run.doubted_at + DOUBT_EVERY)
    return now + SELDOM


def _observed(run_id: str, group: Sequence[_Placed], now: int) -> Run:
    """Return the run of somebody who submitted it past us, by Swagger or curl."""
    workflow = next((one.run_name for one in group if one.run_name), "")
    return observed(run_id, workflow, now)


def _diagnosis_messages(run_id: str, failed: Sequence[_Placed]) -> Iterator[dict[str, Any]]:
    """Yield the messages that have failed jobs looked at: several jobs to a message."""
    for start in range(0, len(failed), _FAILED_A_MESSAGE):
        job_ids = sorted({one.heard.sighting.job_id for one in failed[start:][:_FAILED_A_MESSAGE]})
        yield {"failed": {"run_id": run_id, "job_ids": job_ids}}

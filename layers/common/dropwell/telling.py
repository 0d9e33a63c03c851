"""From a notice on record to a mail and an event: gather the facts, say them, mark them said.

A notice is recorded once, with the fact that it tells. Saying it may be tried
many times: by the table's stream, by the sweep, after a crash. Whoever says it
takes it for a while first, so that two seldom say it at once, and whatever does
reach the wire twice has the same id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dropwell import ledger
from dropwell.blockages import QUEUE, blockage_of, blocked_attributes, blocked_event
from dropwell.calls import UNSCATTERED, CallId
from dropwell.diagnosis import card_key, summary_of
from dropwell.errors import Missing, Superseded, TooLarge
from dropwell.jobs import JobStatus
from dropwell.mails import Mail, blocked_mail, mail
from dropwell.notices import Detail, Facts, Group, Kind, attributes, event
from dropwell.ports import Bucket, Bus, Queue, Table, Topic
from dropwell.records import CALL, JOB, NOTICE, Item, Key, Update
from dropwell.reports import status_page
from dropwell.runs import Run, State
from dropwell.summaries import CallSummary

PATIENCE = 60
"""Seconds that an ending waits for the summaries it is to tell of."""

_AGAIN = 5
_CLAIM = 90
_SHARDS_SHOWN = 12
_GROUPS_WITH_LOGS = 5
_PAGE_LIMIT = 4 << 20


class Told(StrEnum):
    """What became of one try to say a notice."""

    SAID = "said"
    POSTPONED = "postponed"
    SUPERSEDED = "superseded"
    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What the router works with when it speaks.

    Parameters
    ----------
    table, inbox : Table, Bucket
        What is remembered, and what lies in run folders.
    mails, bus : Topic, Bus
        The channels. Each further one is a field here and a line in `_speak`.
    later : Queue
        Where to ask to be called again.
    detail : Detail
        How much the mails may tell, where the operator sets nothing else for a project.
    """

    table: Table
    inbox: Bucket
    mails: Topic
    bus: Bus
    later: Queue
    detail: Detail


def tell(key: Key, voice: Voice, *, now: int) -> Told:
    """Say a notice, unless it was said, is being said, or had better wait.

    Parameters
    ----------
    key : (str, str)
        Of the notice's item.
    voice : Voice
        What to work with.
    now : int
        Seconds since 1970.

    Raises
    ------
    TryAgain
        A channel did not take it; the notice stays due.
    """
    notice = voice.table.get(key)
    if notice is None or not notice.get("due_kind") or notice.get("claimed_until", 0) > now:
        return Told.KNOWN
    if key[0].startswith(QUEUE):
        return _tell_of_queue(key, notice, voice, now)
    run = ledger.load(voice.table, key[0])
    if run is None:
        return Told.KNOWN
    kind = Kind(key[1].removeprefix(NOTICE))
    if kind is Kind.FAILING and run.state.terminal:
        _mark(key, notice, voice.table, superseded_at=now)
        return Told.SUPERSEDED
    seen = _Seen.of(voice.table, run) if run.submitted_at else _Seen()
    if now < notice["at"] + PATIENCE and not seen.complete(kind, run):
        _postpone(key, notice, voice, now)
        return Told.POSTPONED
    claimed = _claim(key, notice, voice.table, now)
    if claimed is None:
        return Told.KNOWN
    facts = _facts(kind, notice, run, seen, voice.inbox)
    _say(facts, Detail(run.notice_detail or voice.detail), voice)
    if kind is Kind.ENDED and facts.cause:
        _remember_cause(run, facts.cause.value, voice)
    _mark(key, claimed, voice.table, said_at=now)
    return Told.SAID


def recall(run: Run, notice: Item, table: Table, inbox: Bucket) -> Facts:
    """Return what a notice on record tells, as it is known now, for somebody who asks.

    Mails are not kept: this is how a notice is read again later.

    Parameters
    ----------
    run : Run
        Whose notice it is.
    notice : dict
        The notice's item.
    table, inbox : Table, Bucket
        Where what it tells is remembered.
    """
    seen = _Seen.of(table, run) if run.submitted_at else _Seen()
    return _facts(Kind(notice["sk"].removeprefix(NOTICE)), notice, run, seen, inbox)


def _tell_of_queue(key: Key, notice: Item, voice: Voice, now: int) -> Told:
    """Say that a queue is blocked: a notice that belongs to no run, and waits for nothing."""
    claimed = _claim(key, notice, voice.table, now)
    if claimed is None:
        return Told.KNOWN
    seen = blockage_of(notice)
    told = blocked_attributes(seen) | {"notice_id": seen.notice_id}
    _speak(blocked_mail(seen, voice.detail), told, blocked_event(seen), voice)
    _mark(key, claimed, voice.table, said_at=now)
    return Told.SAID


def _say(facts: Facts, detail: Detail, voice: Voice) -> None:
    told = attributes(facts) | {"notice_id": facts.notice_id}
    _speak(mail(facts, detail), told, event(facts), voice)


def _speak(
    letter: Mail, told: dict[str, str], machine: tuple[str, dict[str, Any]], voice: Voice
) -> None:
    voice.mails.publish(letter.subject, letter.body, told)
    voice.bus.put(*machine)


def _postpone(key: Key, notice: Item, voice: Voice, now: int) -> None:
    """Ask to be called again soon; the sweep calls if that gets lost."""
    message = {"notice": {"run_id": key[0], "sk": key[1]}}
    voice.later.send(message, delay=_AGAIN)


def _claim(key: Key, notice: Item, table: Table, now: int) -> Item | None:
    until = now + _CLAIM
    changed = {"rev": notice["rev"] + 1, "claimed_until": until, "due_at": until}
    try:
        table.write(Update(key, set=changed, expect={"rev": notice["rev"]}))
    except Superseded:
        return None
    return {**notice, **changed}


def _mark(key: Key, notice: Item, table: Table, **said: int) -> None:
    """Mark a notice as done with; if somebody took it over meanwhile, that is theirs to do."""
    changed = {"rev": notice["rev"] + 1, **said}
    done = ("due_kind", "due_at", "claimed_until")
    try:
        table.write(Update(key, set=changed, remove=done, expect={"rev": notice["rev"]}))
    except Superseded:
        return


def _remember_cause(run: Run, cause: str, voice: Voice) -> None:
    """Keep the cause that was told with the run, for those who list runs or read its status."""

    def named(known: Run) -> Run | None:
        return replace(known, cause=cause) if known.cause != cause else None

    run, changed = ledger.change(voice.table, run, named)
    if changed:
        voice.inbox.put(run.folder + "status.json", status_page(run))


# What has been seen of a run's calls


_Call = tuple[str, str, int]
"""A call whatever its attempt: workflow id, alias, shard."""


def _call(call_id: CallId) -> _Call:
    return call_id.workflow_id, call_id.call, call_id.shard


class _Seen:
    """The last attempt of each call: how its job went, and why it failed."""

    def __init__(
        self,
        jobs: Iterable[tuple[CallId, JobStatus]] = (),
        failed: Iterable[CallSummary] = (),
        cached: int = 0,
        live: int = 0,
    ) -> None:
        last: dict[_Call, tuple[int, JobStatus]] = {}
        for call_id, status in jobs:
            if call_id.attempt >= last.get(_call(call_id), (0, status))[0]:
                last[_call(call_id)] = call_id.attempt, status
        self.jobs = last
        self.failed = {
            _call(summary.call_id): summary for summary in failed if self._lasting(summary.call_id)
        }
        self.cached = cached
        self.live = live

    def _lasting(self, call_id: CallId) -> bool:
        """Whether a failure stands: no later attempt, and its job did not go well after all."""
        attempt, status = self.jobs.get(_call(call_id), (0, JobStatus.FAILED))
        return call_id.attempt >= attempt and status is not JobStatus.SUCCEEDED

    @classmethod
    def of(cls, table: Table, run: Run) -> _Seen:
        jobs = [
            (CallId.parse(item["call"]), JobStatus(item["status"]))
            for item in table.query(run.run_id, JOB)
            if item.get("call")
        ]
        calls = list(table.query(run.run_id, CALL))
        failed = [summary for item in calls if (summary := summary_of(item))]
        return cls(
            jobs,
            failed,
            cached=sum(bool(item.get("cached")) for item in calls),
            live=sum(not status.terminal for _, status in jobs),
        )

    def complete(self, kind: Kind, run: Run) -> bool:
        """Whether all is there that the notice is to tell of."""
        if kind is Kind.ENDED and run.state is State.COMPLETE:
            return self.live == 0
        if kind is Kind.ENDED and run.state is State.EXECUTOR_ERROR:
            return self.live == 0 and self.failures <= self.failed.keys()
        return kind is not Kind.FAILING or bool(self.failed)

    @property
    def failures(self) -> set[_Call]:
        return {call for call, (_, status) in self.jobs.items() if status is JobStatus.FAILED}

    @property
    def done(self) -> int:
        return sum(status is JobStatus.SUCCEEDED for _, status in self.jobs.values())


# Facts


def _facts(kind: Kind, notice: Item, run: Run, seen: _Seen, inbox: Bucket) -> Facts:
    folder = inbox.uri(run.folder)
    facts = Facts(
        kind=kind,
        notice_id=notice["notice_id"],
        run_id=run.run_id,
        name=run.name,
        project=run.project,
        state=run.state,
        at=notice["at"],
        workflow=run.workflow,
        principal=run.principal,
        dropped_at=run.dropped_at,
        submitted_at=run.submitted_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        warnings=run.warnings,
        findings=run.findings,
        waiting=run.waiting,
        run_folder=folder,
        report=f"{folder}report.md" if kind is Kind.REJECTED else "",
    )
    if kind in (Kind.ACCEPTED, Kind.REJECTED):
        return facts
    facts = replace(
        facts,
        calls_total=len(seen.jobs) + seen.cached,
        calls_done=seen.done + seen.cached,
        calls_failed=len(seen.failures | seen.failed.keys()),
        calls_cached=seen.cached,
        still_running=seen.live,
    )
    if run.state is State.COMPLETE:
        return replace(facts, outputs=_outputs(run, inbox))
    if run.state is State.CANCELED:
        return replace(facts, calls_failed=None)  # jobs that were ended with it
    return replace(facts, groups=_groups(run, seen, inbox), failures=run.failures)


def _outputs(run: Run, inbox: Bucket) -> int | None:
    try:
        page: Any = json.loads(inbox.read(run.folder + "outputs.json", limit=_PAGE_LIMIT))
    except (Missing, TooLarge):
        return None
    return len(page)


def _groups(run: Run, seen: _Seen, inbox: Bucket) -> tuple[Group, ...]:
    """Return the failures that stand, those that failed alike together, the largest first."""
    alike: dict[str, list[CallSummary]] = {}
    for summary in sorted(seen.failed.values(), key=lambda one: one.call_id):
        alike.setdefault(summary.signature, []).append(summary)
    ordered = sorted(alike.items(), key=lambda entry: (-len(entry[1]), entry[1][0].call_id))
    return tuple(
        Group(
            signature=signature,
            cause=members[0].cause,
            count=len(members),
            example=_example(run, members, inbox if rank < _GROUPS_WITH_LOGS else None),
            shards=_shards(members),
        )
        for rank, (signature, members) in enumerate(ordered)
    )


def _example(run: Run, members: Sequence[CallSummary], inbox: Bucket | None) -> CallSummary:
    """Return one of the failures, with the end of its log where that was kept."""
    if inbox is None:
        return members[0]
    for summary in members[:_SHARDS_SHOWN]:
        try:
            card = inbox.read(card_key(run.project, run.name, summary), limit=_PAGE_LIMIT)
        except (Missing, TooLarge):
            continue
        kept = CallSummary.from_json(card.decode())
        return replace(summary, tail=kept.tail, tail_of=kept.tail_of)
    return members[0]


def _shards(members: Sequence[CallSummary]) -> str:
    """Return which shards they are, ``shards 3, 17 and 40 more``; empty outside scatters."""
    shards = sorted({one.call_id.shard for one in members} - {UNSCATTERED})
    if not shards:
        return ""
    shown = ", ".join(map(str, shards[:_SHARDS_SHOWN]))
    more = len(shards) - _SHARDS_SHOWN
    return f"{'shard' if len(shards) == 1 else 'shards'} {shown}" + (
        f" and {more} more" if more > 0 else ""
    )

"""What can be read of one run: how it is, what was told of it, how its calls fared, their logs."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropwell.calls import UNSCATTERED, CallId, CallPlace, place_of_script
from dropwell.errors import Missing, TooLarge
from dropwell.jobs import JobStatus, Sighting
from dropwell.records import (
    CALL,
    COUNTS,
    JOB,
    NOTICE,
    RUN,
    Item,
    live_jobs,
    notice_key,
    run_of,
    sighting_of,
)
from dropwell.runs import Run, State
from dropwell.text import clean, iso, redact, shorten, tail
from dropwell_cli import Failure
from dropwell_cli.places import Place

if TYPE_CHECKING:
    from dropwell.notices import Facts

_PAGE_LIMIT = 16 << 20
_SCRIPT_LIMIT = 8 << 20
_TAIL_BYTES = 1 << 20
_LINE_WIDTH = 2_000

MOST_LOGS = 5
"""Calls whose logs are read at once."""

CLOSING = ("ended", "rejected")
"""The notices after which nothing more is told of a run."""

_KINDS = ("accepted", "failing", *CLOSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run stands.

    Parameters
    ----------
    run : Run or None
        `None` until the drop is taken.
    counts : dict
        Its jobs by status.
    notices : tuple of dict
        The items of its notices, said or not, in the order they became true.
    """

    run: Run | None = None
    counts: Item
    notices: tuple[Item, ...] = ()

    @property
    def ended(self) -> bool:
        return self.run is not None and self.run.state.terminal

    @property
    def complete(self) -> bool:
        return self.run is not None and self.run.state is State.COMPLETE

    def notice(self, *kinds: str) -> Item | None:
        """Return the first notice of one of some kinds, `None` if there is none."""
        return next((item for item in self.notices if kind_of(item) in kinds), None)


def standings(place: Place, run_ids: Iterable[str]) -> dict[str, Standing]:
    """Return how runs stand, in one read for a few of them."""
    ids = list(run_ids)
    items = place.table.get_many(
        key
        for run_id in ids
        for key in (
            (run_id, RUN),
            (run_id, COUNTS),
            *(notice_key(run_id, kind) for kind in _KINDS),
        )
    )

    def standing(run_id: str) -> Standing:
        item = items.get((run_id, RUN))
        notices = [items[key] for kind in _KINDS if (key := notice_key(run_id, kind)) in items]
        return Standing(
            run=run_of(item) if item else None,
            counts=items.get((run_id, COUNTS), {}),
            notices=tuple(sorted(notices, key=lambda notice: notice["at"])),
        )

    return {run_id: standing(run_id) for run_id in ids}


def kind_of(notice: Item) -> str:
    kind: str = notice["sk"].removeprefix(NOTICE)
    return kind


# Notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A notice as its reader got it, or would."""

    notice_id: str
    run_id: str
    kind: str
    at: int
    subject: str
    body: str

    def as_json(self) -> dict[str, Any]:
        return {
            "notice_id": self.notice_id,
            "run_id": self.run_id,
            "kind": self.kind,
            "at": iso(self.at),
            "subject": self.subject,
            "body": self.body,
        }


def said(place: Place, standing: Standing, *, but: Container[str] = ()) -> list[Said]:
    """Return what was told of a run: the mails themselves where they are kept, else said again.

    Parameters
    ----------
    but : container of str
        Ids of notices to leave out.
    """
    run = standing.run
    wanted = [notice for notice in standing.notices if notice["notice_id"] not in but]
    if run is None or not wanted:
        return []
    if place.mails is None:
        return [
            _said(run, notice, *_said_again(place, run, notice))
            for notice in wanted
            if notice.get("said_at")
        ]
    mails = {mail.attributes.get("notice_id"): mail for mail in place.mails()}
    return [
        _said(run, notice, mail.subject, mail.text)
        for notice in wanted
        if (mail := mails.get(notice["notice_id"]))
    ]


def _said(run: Run, notice: Item, subject: str, body: str) -> Said:
    return Said(
        notice_id=notice["notice_id"],
        run_id=run.run_id,
        kind=kind_of(notice),
        at=notice["at"],
        subject=subject,
        body=body,
    )


def _said_again(place: Place, run: Run, notice: Item) -> tuple[str, str]:
    from dropwell.mails import mail
    from dropwell.notices import Detail
    from dropwell.telling import recall

    return mail(recall(run, notice, place.table, place.inbox), Detail(place.detail))


def facts(place: Place, standing: Standing) -> Facts | None:
    """Return why a run failed, or is failing, as its notice tells it; `None` if it does not."""
    from dropwell.telling import recall

    notice = standing.notice("ended") or standing.notice("failing")
    if standing.run is None or notice is None:
        return None
    return recall(standing.run, notice, place.table, place.inbox)


def cause(place: Place, standing: Standing) -> str | None:
    """Return the cause to name first, `None` where nothing failed."""
    if standing.run is None or standing.complete:
        return None
    told = facts(place, standing)
    return told.cause.value if told and told.cause else standing.run.cause or None


# The run as a whole


def account(run: Run, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as programs read it; times are ISO 8601, `None` where not reached."""

    def when(at: int) -> str | None:
        return iso(at) if at else None

    return {
        "run_id": run.run_id,
        "name": run.name,
        "project": run.project,
        "workflow": run.workflow or None,
        "state": run.state.value,
        "waiting": run.waiting or None,
        "jobs": {
            "total": counts.get("jobs", 0),
            "succeeded": counts.get("succeeded", 0),
            "failed": counts.get("failed", 0),
            "live": live_jobs(counts),
        },
        "dropped_by": run.principal or None,
        "dropped_at": when(run.dropped_at),
        "submitted_at": when(run.submitted_at),
        "started_at": when(run.started_at),
        "ended_at": when(run.ended_at),
        "labels": dict(run.labels),
        "warnings": list(run.warnings),
        "findings": list(run.findings),
        "failures": list(run.failures),
    }


def folder_uri(place: Place, run: Run) -> str:
    return place.inbox.uri(run.folder)


def outputs(place: Place, run: Run) -> dict[str, Any]:
    """Return what a run's workflow returned, empty if that is not there (yet)."""
    if run.state is not State.COMPLETE:
        return {}
    try:
        page = place.inbox.read(f"{run.folder}outputs.json", limit=_PAGE_LIMIT)
    except (Missing, TooLarge):
        return {}
    found: dict[str, Any] = json.loads(page)
    return found


# Calls and their logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The last attempt of a call, as its job shows it.

    Parameters
    ----------
    call_id : CallId
        The call.
    seen : Sighting or None
        Its job, `None` for a call that came from cache.
    """

    call_id: CallId
    seen: Sighting | None

    @property
    def status(self) -> str:
        return self.seen.status.value if self.seen else "CACHED"

    @property
    def failed(self) -> bool:
        return self.seen is not None and self.seen.status is JobStatus.FAILED

    @property
    def ended(self) -> bool:
        return self.seen is None or self.seen.status.terminal


def calls(place: Place, run_id: str) -> list[Call]:
    """Return every call of a run that is known of, by its last attempt, in the order they began."""
    last: dict[tuple[str, str, int], Call] = {}
    order: dict[tuple[str, str, int], tuple[int, int]] = {}
    for item in place.table.query(run_id, JOB):
        if not item.get("call"):
            continue
        call = Call(call_id=CallId.parse(item["call"]), seen=sighting_of(item))
        key = (call.call_id.workflow_id, call.call_id.call, call.call_id.shard)
        rank = (call.call_id.attempt, item.get("created_at_ms", 0))
        if rank >= order.get(key, (0, 0)):
            last[key], order[key] = call, rank
    for item in place.table.query(run_id, CALL):
        call_id = CallId.parse(item["sk"].removeprefix(CALL))
        if item.get("cached"):
            key = (call_id.workflow_id, call_id.call, call_id.shard)
            last.setdefault(key, Call(call_id=call_id, seen=None))
    firsts: dict[str, int] = {}
    for call in last.values():
        at = call.seen.created_at or 0 if call.seen else 0
        firsts[call.call_id.call] = min(at, firsts.get(call.call_id.call, at))
    return sorted(last.values(), key=lambda call: (firsts[call.call_id.call], call.call_id))


def meant(known: Sequence[Call], named: str) -> list[Call]:
    """Return the calls that a person means by ``align``, ``align-3`` or ``align shard 3``.

    Raises
    ------
    Failure
        None is meant.
    """
    alias, shard = named, None
    if found := re.fullmatch(r"(\S+?)(?:-|\.|:|/|\s+shard\s+)(\d+)", named.strip()):
        alias, shard = found[1], int(found[2])
    chosen = [
        call
        for call in known
        if call.call_id.call == named
        or (call.call_id.call == alias and call.call_id.shard == shard)
    ]
    if not chosen:
        names = ", ".join(sorted({call.call_id.call for call in known})) or "none yet"
        raise Failure(f'No call of this run is named "{named}". Its calls: {names}.')
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The end of something that a call wrote."""

    kind: str
    where: str
    lines: tuple[str, ...]
    size: int = 0


def log_account(call: Call, ends: Sequence[Log]) -> dict[str, Any]:
    """Return the ends of a call's logs as programs read them."""
    call_id = call.call_id
    return {
        "call": call_id.call,
        "shard": None if call_id.shard == UNSCATTERED else call_id.shard,
        "attempt": call_id.attempt,
        "workflow_id": call_id.workflow_id,
        "status": call.status,
        "logs": [
            {"of": log.kind, "where": log.where, "bytes": log.size, "lines": list(log.lines)}
            for log in ends
        ],
    }


def logs(place: Place, call: Call, lines: int) -> list[Log]:
    """Return the ends of a call's stderr and stdout, with its job's log if it wrote nothing."""
    if call.seen is None:
        return []
    found = []
    if files := _files(place, call.seen):
        for kind, key in (("stderr", files.stderr_key), ("stdout", files.stdout_key)):
            found += _end_of(place, kind, files.bucket, key, lines)
    if not any(log.lines for log in found) and call.seen.log_stream:
        text = place.logs.tail(call.seen.log_stream, lines)
        told = tuple(tail(text, lines, _LINE_WIDTH))
        found += [_job_log(place, call.seen, told)] if told else []
    return found


def _job_log(place: Place, seen: Sighting, lines: tuple[str, ...]) -> Log:
    where = f"{place.logs.name} {seen.log_stream}"
    return Log(kind="the job's log", where=where, lines=lines)


def growing_log(place: Place, call: Call, lines: int) -> Log | None:
    """Return the end of a job's log line by line, none taken together; `None` if it has none.

    A call's own files are written once it has ended; this one grows while it runs.
    """
    if call.seen is None or not call.seen.log_stream:
        return None
    text = redact(clean(place.logs.tail(call.seen.log_stream, lines)))
    told = tuple(shorten(line, _LINE_WIDTH) for line in text.split("\n")) if text else ()
    return _job_log(place, call.seen, told)


def news(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return what a log's end has that its end before had not, however far it moved on.

    >>> news(["a", "b", "c"], ["b", "c", "d"])
    ['d']
    """
    for start in range(len(before)):
        if list(before[start:]) == list(now[: len(before) - start]):
            return now[len(before) - start :]
    return now


def _files(place: Place, seen: Sighting) -> CallPlace | None:
    """Return where a call's files lie, which its script tells."""
    bucket, _, key = seen.script_url.removeprefix("s3://").partition("/")
    if not key:
        return None
    try:
        script = place.bucket(bucket).read(key, limit=_SCRIPT_LIMIT)
    except (Missing, TooLarge):
        return None
    return place_of_script(script.decode(errors="replace"))


def _end_of(place: Place, kind: str, bucket: str, key: str, lines: int) -> list[Log]:
    source = place.bucket(bucket)
    try:
        end = source.tail(key, _TAIL_BYTES)
    except Missing:
        return []
    text = end.data.decode(errors="replace")
    if end.size > len(end.data):
        text = text.partition("\n")[2] or text
    told = tuple(tail(text, lines, _LINE_WIDTH))
    return [Log(kind=kind, where=source.uri(key), lines=told, size=end.size)]


def shown(call: Call) -> str:
    """How a call is named in commands and lists: ``align`` or ``align-3``."""
    call_id = call.call_id
    return call_id.call if call_id.shard == UNSCATTERED else f"{call_id.call}-{call_id.shard}"
